"""Authentication: the JWTs of the application, verified."""
