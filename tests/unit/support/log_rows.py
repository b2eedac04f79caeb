"""Rows of the log's file."""

from __future__ import annotations

from chatsvc.core.record import Record, checksum, pack
from chatsvc.log.local.record_reader import Row


def row(one: Record) -> Row:
    """The row of a record, as it is written."""
    data = pack(one)
    return one.id, checksum(one.id, data), data
