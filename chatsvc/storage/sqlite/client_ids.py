"""Client ids in the embedded store: of records and of dead letters, found by their key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from chatsvc.core.ids import id_ms
from chatsvc.storage.client_ids import listed_above_ms
from chatsvc.storage.ports.client_ids import ClientIdAt, ClientIdReader, PastClientIds
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.messages import head
from chatsvc.storage.sqlite.statements import MAX_ROW_ID

_BY_KEY: Final = " UNION ALL ".join(
    f"SELECT id, digest FROM {table} WHERE client_id = :client_id AND sender = :sender"
    " AND conversation = (SELECT number FROM conversations WHERE channel = :channel)"
    " AND id > :after"
    for table in ("messages", "changes")
)
_BY_KEY_WITH_LETTERS: Final = (
    f"{_BY_KEY} UNION ALL SELECT id, digest FROM dead_letters"
    " WHERE client_id = :client_id AND sender = :sender AND channel = :channel AND id > :after"
)
# Each table in the order of its ids, merged: no more rows are read than are asked for.
_ABOVE: Final = (
    "SELECT id, sender, client_id FROM messages WHERE id > :after UNION ALL"
    " SELECT id, sender, client_id FROM changes WHERE id > :after ORDER BY id LIMIT :limit"
)
_AHEAD: Final = " UNION ALL ".join(
    f"SELECT sender, minted_ahead_ms AS ms FROM {table} WHERE minted_ahead_ms > :bound"
    for table in ("messages", "changes", "dead_letters")
)


class SqliteClientIds(SqliteFile, ClientIdReader):
    """Looks into the tables of messages, of changes and of dead letters."""

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
    query = _BY_KEY_WITH_LETTERS if dead_letters else _BY_KEY
    row = db.execute(
        f"{query} ORDER BY id LIMIT 1",
        {
            "client_id": client_id,
            "sender": sender,
            "channel": channel,
            "after": min(after, MAX_ROW_ID),
        },
    ).fetchone()
    return (row[0], row[1]) if row else None


def past_client_ids(db: sqlite3.Connection, limit: int, since_ms: int) -> PastClientIds:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.past_client_ids`."""
    letters = db.execute("SELECT max(id) FROM dead_letters WHERE client_id IS NOT NULL").fetchone()
    newest_ms = id_ms(max(head(db), int(letters[0] or 0)))
    bound = listed_above_ms(newest_ms, since_ms)
    found = db.execute(
        f"SELECT sender, max(ms) AS latest FROM ({_AHEAD}) GROUP BY sender"
        " ORDER BY latest DESC, sender LIMIT :limit",
        {"bound": bound, "limit": limit},
    ).fetchall()
    return PastClientIds(newest_ms, found)


def client_ids_above(db: sqlite3.Connection, after: int, limit: int) -> list[ClientIdAt]:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.client_ids_above`."""
    found = db.execute(_ABOVE, {"after": min(after, MAX_ROW_ID), "limit": limit})
    return [ClientIdAt(*row) for row in found]
