"""The documents of the interface: OpenAPI, AsyncAPI and their page."""
