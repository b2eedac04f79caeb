"""Rows of the embedded store, counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence


def counts(db: sqlite3.Connection, tables: Sequence[str]) -> list[int]:
    """How many rows each of the tables has."""
    return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
