"""Client ids in the embedded store: of messages and of dead letters, found by their key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from chatsvc.core.ids import id_ms
from chatsvc.storage.client_ids import listed_above_ms
from chatsvc.storage.ports.client_ids import ClientIdAt, ClientIdReader, PastClientIds
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.messages import head
from chatsvc.storage.sqlite.statements import MAX_ROW_ID


class SqliteClientIds(SqliteFile, ClientIdReader):
    """Looks into the tables of messages and of dead letters."""

    async def find_client_id(
        self,
        sender: str,
        channel: str,
        client_id: str,
        *,
        after: int = 0,
        dead_letters: bool = True,
    ) -> tuple[int, bytes] | None:
        key = sender, channel, client_id
        return await self._history.run(lambda db: find_client_id(db, key, after, dead_letters))

    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        return await self._reader.run(lambda db: past_client_ids(db, limit, since_ms))

    async def client_ids_above(self, after: int, limit: int) -> Sequence[ClientIdAt]:
        return await self._reader.run(lambda db: client_ids_above(db, after, limit))


def find_client_id(
    db: sqlite3.Connection, key: tuple[str, str, str], after: int = 0, dead_letters: bool = True
) -> tuple[int, bytes] | None:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.find_client_id`."""
    sender, channel, client_id = key
    tables = ("messages", "dead_letters") if dead_letters else ("messages",)
    query = " UNION ALL ".join(
        f"SELECT id, digest FROM {table}"
        " WHERE client_id = ? AND sender = ? AND channel = ? AND id > ?"
        for table in tables
    )
    row = db.execute(
        f"SELECT id, digest FROM ({query}) ORDER BY id LIMIT 1",
        (client_id, sender, channel, min(after, MAX_ROW_ID)) * len(tables),
    ).fetchone()
    return (row[0], row[1]) if row else None


def past_client_ids(db: sqlite3.Connection, limit: int, since_ms: int) -> PastClientIds:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.past_client_ids`."""
    letters = db.execute("SELECT max(id) FROM dead_letters WHERE client_id IS NOT NULL").fetchone()
    newest_ms = id_ms(max(head(db), int(letters[0] or 0)))
    bound = listed_above_ms(newest_ms, since_ms)
    ahead = " UNION ALL ".join(
        f"SELECT sender, minted_ahead_ms AS ms FROM {table} WHERE minted_ahead_ms > ?"
        for table in ("messages", "dead_letters")
    )
    found = db.execute(
        f"SELECT sender, max(ms) AS latest FROM ({ahead}) GROUP BY sender"
        " ORDER BY latest DESC, sender LIMIT ?",
        (bound, bound, limit),
    ).fetchall()
    return PastClientIds(newest_ms, found)


def client_ids_above(db: sqlite3.Connection, after: int, limit: int) -> list[ClientIdAt]:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.client_ids_above`."""
    found = db.execute(
        "SELECT id, sender, client_id FROM messages WHERE id > ? ORDER BY id LIMIT ?",
        (min(after, MAX_ROW_ID), limit),
    )
    return [ClientIdAt(*row) for row in found]
