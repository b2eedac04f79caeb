"""Connection counts of users."""
