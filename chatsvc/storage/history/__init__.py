"""History: what the store holds, then what the log's tail holds on top of it."""
