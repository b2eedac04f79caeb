"""Send messages to a set of users, and read them back."""
