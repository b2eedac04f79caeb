"""The HTTP server: routes from operations, problem documents from errors."""
