"""The settings: one table of all variables, and their parsing."""
