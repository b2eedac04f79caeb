"""The conversations of a user, newest first."""
