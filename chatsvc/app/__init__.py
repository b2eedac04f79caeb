"""The composition root: what the service is made of, its start and its end."""
