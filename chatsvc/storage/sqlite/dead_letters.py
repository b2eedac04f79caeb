"""Dead letters in the embedded store, each with the key it was accepted under."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence
from typing import Final

from chatsvc.storage.client_ids import letter_key
from chatsvc.storage.ports.dead_letters import DeadLetter, DeadLetters
from chatsvc.storage.sqlite import requests
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, NAMED, json_list, transaction
from chatsvc.storage.sqlite.threads import SqliteThreads

_LETTER: Final = "SELECT id, code, reason, at_ms, data FROM dead_letters"


class SqliteDeadLetters(DeadLetters):
    """In a table beside the messages."""

    def __init__(self, writer: SqliteThreads, reader: SqliteThreads) -> None:
        self._writer = writer
        self._reader = reader

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        await self._writer.run(lambda db: put(db, letters))

    async def list(self, *, after: int = 0, limit: int = 100) -> builtins.list[DeadLetter]:
        return await self._reader.run(lambda db: above(db, after, limit))

    async def get(self, letter_id: int) -> DeadLetter | None:
        found = await self.list(after=letter_id - 1, limit=1)
        return found[0] if found and found[0].id == letter_id else None

    async def newest(self) -> DeadLetter | None:
        return await self._reader.run(newest)

    async def drop(self, ids: Sequence[int]) -> int:
        return await self._writer.run(lambda db: delete(db, ids))

    async def count(self) -> int:
        return await self._reader.run(count)


def put(db: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    """Insert or replace, in one transaction."""
    with transaction(db):
        db.executemany(
            "INSERT OR REPLACE INTO dead_letters (id, code, reason, at_ms, data, sender, channel,"
            " client_id, digest, minted_ahead_ms) VALUES (?,?,?,?,?,?,?,?,?,?)",
            [(*letter, *letter_key(letter)) for letter in letters],
        )
        requests.put_letters(db, letters)


def above(db: sqlite3.Connection, after: int, limit: int) -> list[DeadLetter]:
    """Those above an id, ascending."""
    found = db.execute(
        f"{_LETTER} WHERE id > ? ORDER BY id LIMIT ?", (min(after, MAX_ROW_ID), limit)
    )
    return [DeadLetter(*row) for row in found]


def newest(db: sqlite3.Connection) -> DeadLetter | None:
    """The letter with the highest id."""
    row = db.execute(f"{_LETTER} ORDER BY id DESC LIMIT 1").fetchone()
    return DeadLetter(*row) if row else None


def delete(db: sqlite3.Connection, ids: Sequence[int]) -> int:
    """Remove letters; how many there were."""
    with transaction(db):
        requests.delete_letters(db, ids)
        dropped = db.execute(f"DELETE FROM dead_letters WHERE id IN {NAMED}", (json_list(ids),))
    return dropped.rowcount


def count(db: sqlite3.Connection) -> int:
    """How many there are."""
    return int(db.execute("SELECT count(*) FROM dead_letters").fetchone()[0])
