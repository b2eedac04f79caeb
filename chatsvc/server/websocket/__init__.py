"""The WebSocket endpoint: aiohttp accepts the upgrade, then an own protocol takes over."""
