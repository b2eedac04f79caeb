"""Who speaks: the application's own JWT, verified."""
