"""The WebSocket: upgraded by aiohttp, then a protocol of its own on the transport."""
