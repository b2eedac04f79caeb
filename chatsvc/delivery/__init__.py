"""From the log to sockets: who is connected, what each has been served, and resume."""
