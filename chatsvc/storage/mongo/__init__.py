"""The store in MongoDB, by motor."""
