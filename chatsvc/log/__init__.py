"""What was accepted, in order."""
