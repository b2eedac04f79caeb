"""The column of all tables of the log that holds what was encoded."""

from __future__ import annotations

from typing import Final

DATA: Final = "CAST(data AS BLOB)"
"""``data`` in a query. Where a damaged row says that it is text, sqlite3 would decode it and raise
an error of its own; as bytes it goes to the checksum, which decides."""
