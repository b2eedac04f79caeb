"""From the log to a database, and history back out: one adapter per database."""
