"""The log on one machine: records in a SQLite file, durable by fsync."""
