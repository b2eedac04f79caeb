"""Delivery from the log to sockets: connections, fan-out and resume."""
