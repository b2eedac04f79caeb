"""Rows folded from records: what a batch changes, building what is new, and reading."""
