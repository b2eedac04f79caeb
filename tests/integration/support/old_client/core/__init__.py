"""The nouns of the service: ids, participants, messages, records and errors. No I/O."""
