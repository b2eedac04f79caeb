"""How features declare what they offer: operations, commands, error codes, metrics."""
