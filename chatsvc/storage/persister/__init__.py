"""From the log to the store: in order, in batches, for as long as it takes."""
