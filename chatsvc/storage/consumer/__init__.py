"""What reads the log with a position of its own: batches, backoff, probing and halting."""
