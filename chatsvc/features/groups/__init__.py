"""Groups: conversations that people create, join and leave, with roles."""
