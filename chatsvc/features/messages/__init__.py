"""Speak to a set of people, and read back what was said."""
