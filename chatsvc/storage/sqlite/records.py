"""Records of every kind in the embedded store: messages and changes in one order."""

from __future__ import annotations

import sqlite3

from chatsvc.core.page import Bounds, Entry
from chatsvc.storage.ports.records import RecordReader
from chatsvc.storage.sqlite import walks
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.entries import entries_of, page_of, records_by_id
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, snapshot


class SqliteRecords(SqliteFile, RecordReader):
    """Finds messages and changes."""

    async def get_record(self, record_id: int) -> Entry | None:
        return await self._history.run(lambda db: record(db, record_id))

    async def user_records(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._history.run(lambda db: user_records(db, user, bounds))

    async def channel_records(self, channel: str, bounds: Bounds, *, reader: str) -> list[Entry]:
        return await self._history.run(lambda db: channel_records(db, channel, bounds, reader))

    async def count_user_records(self, user: str, bounds: Bounds) -> int:
        return await self._history.run(lambda db: walks.count_user(db, user, bounds, changes=True))


def record(db: sqlite3.Connection, record_id: int) -> Entry | None:
    """One record."""
    found = list(entries_of(records_by_id(db, [min(record_id, MAX_ROW_ID)])))
    return found[0] if found else None


def user_records(db: sqlite3.Connection, user: str, bounds: Bounds) -> list[Entry]:
    """Records of the user's conversations, ascending."""
    with snapshot(db):
        ids = walks.user_ids(db, user, bounds, changes=True)
        return page_of(records_by_id(db, ids), bounds)


def channel_records(
    db: sqlite3.Connection, channel: str, bounds: Bounds, reader: str
) -> list[Entry]:
    """Records of one conversation, ascending."""
    with snapshot(db):
        ids = walks.channel_ids(db, channel, bounds, reader)
        return page_of(records_by_id(db, ids), bounds)
