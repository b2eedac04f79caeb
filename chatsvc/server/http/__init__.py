"""HTTP: connections, routes, decoding and responses."""
