"""Tokens for any user without a login: only for development."""
