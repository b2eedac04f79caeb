"""Measured claims: each beside the command that makes it, and beside somebody else's figure."""
