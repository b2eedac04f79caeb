"""Batches of records written to the embedded store, and old messages deleted, in transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from chatsvc.core.record import Record
from chatsvc.storage.bodies import Sameness, conflicting, partition_records, sameness
from chatsvc.storage.ports.messages import MessagePurger, MessageWriter, Rejection
from chatsvc.storage.sqlite import conversations, messages
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.errors import UNFIT
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, transaction


class SqliteWrites(SqliteFile, MessageWriter, MessagePurger):
    """Writes and deletes messages with their conversations."""

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        if not records:
            return []
        rejections = await self._writer.run(lambda db: write_halving(db, records))
        self._shrinker.after_write()
        return rejections

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        count = await self._writer.run(lambda db: purge(db, before_id, limit))
        self._shrinker.after_write()
        return count


def write_halving(db: sqlite3.Connection, records: Sequence[Record]) -> list[Rejection]:
    """A batch in one transaction; one that fails for a value is halved until it is found."""
    try:
        return write_records(db, records)
    except UNFIT as exc:
        if len(records) == 1:
            reason = f"SQLite cannot hold it: {type(exc).__name__}"
            return [Rejection(records[0], "unfit", reason)]
    middle = len(records) // 2
    return write_halving(db, records[:middle]) + write_halving(db, records[middle:])


def write_records(db: sqlite3.Connection, records: Sequence[Record]) -> list[Rejection]:
    """Store a batch, in one transaction.

    Raises:
        sqlite3.Error: nothing of the batch was stored.
    """
    decoded, rejections = partition_records(records)
    fit: list[Record] = []
    for record, _ in decoded:
        if 0 < record.id <= MAX_ROW_ID:
            fit.append(record)
        else:
            rejections.append(Rejection(record, "id_out_of_range", "the id has more than 63 bits"))
    if not fit:
        return rejections
    with transaction(db):
        known = messages.known(db, fit)
        fresh = stored = fit
        if known or not _is_ascending(fit):
            fresh, stored = _compare(fit, known, rejections)
        messages.insert(db, fresh)
        conversations.update(db, stored)
    return rejections


def _is_ascending(records: Sequence[Record]) -> bool:
    """Whether no id is there twice, as in a batch of new records."""
    last = 0
    for record in records:
        if record.id <= last:
            return False
        last = record.id
    return True


def _compare(
    records: Sequence[Record], known: dict[int, Sameness], rejections: list[Rejection]
) -> tuple[list[Record], list[Record]]:
    """Return what is to be inserted, and what is stored then; add what is something else."""
    fresh: list[Record] = []
    stored: list[Record] = []
    for record in records:
        own = sameness(record)
        held = known.setdefault(record.id, own)
        if held != own:
            rejections.append(conflicting(record))
            continue
        if held is own:
            fresh.append(record)
        stored.append(record)
    return fresh, stored


def purge(db: sqlite3.Connection, before_id: int, limit: int) -> int:
    """See :meth:`~chatsvc.storage.ports.messages.MessagePurger.purge`."""
    with transaction(db):
        old = messages.oldest(db, before_id, limit)
        conversations.delete_ended(db, old)
        messages.delete(db, old)
    return len(old)
