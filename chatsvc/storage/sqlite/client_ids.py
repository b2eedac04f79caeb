"""Client ids in the embedded store: of records, requests and dead letters, by their key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from chatsvc.core.ids import id_ms
from chatsvc.storage.client_ids import listed_above_ms
from chatsvc.storage.ports.client_ids import ClientIdAt, ClientIdReader, PastClientIds
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.messages import head
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, snapshot

_BY_KEY: Final = " UNION ALL ".join(
    f"SELECT id, digest FROM {table} WHERE client_id = :client_id AND sender = :sender"
    " AND conversation = (SELECT number FROM conversations WHERE channel = :channel)"
    " AND id > :after"
    for table in ("messages", "changes", "requests")
)
_BY_KEY_WITH_LETTERS: Final = " UNION ALL ".join(
    [
        _BY_KEY,
        *(
            f"SELECT id, digest FROM {table}"
            " WHERE client_id = :client_id AND sender = :sender AND channel = :channel"
            " AND id > :after"
            for table in ("dead_letters", "dead_letter_requests")
        ),
    ]
)
# Each table in the order of its ids, merged: no more rows are read than are asked for.
_ABOVE: Final = (
    "SELECT id, sender, client_id FROM messages WHERE id > :after UNION ALL"
    " SELECT id, sender, client_id FROM changes WHERE id > :after ORDER BY id LIMIT :limit"
)
# No more of it is read than there is of those records.
_REQUESTS_BETWEEN: Final = (
    "SELECT id, sender, client_id FROM requests WHERE id > ? AND id <= ? ORDER BY id"
)
_AHEAD: Final = " UNION ALL ".join(
    f"SELECT sender, minted_ahead_ms AS ms FROM {table} WHERE minted_ahead_ms > :bound"
    for table in ("messages", "changes", "requests", "dead_letters", "dead_letter_requests")
)
_NEWEST_LETTER: Final = (
    "SELECT max(coalesce((SELECT max(id) FROM dead_letters WHERE client_id IS NOT NULL), 0),"
    " coalesce((SELECT max(id) FROM dead_letter_requests), 0))"
)


class SqliteClientIds(SqliteFile, ClientIdReader):
    """Looks into the tables of messages, changes and dead letters, and of the requests in them."""

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
    newest_ms = id_ms(max(head(db), int(db.execute(_NEWEST_LETTER).fetchone()[0])))
    bound = listed_above_ms(newest_ms, since_ms)
    found = db.execute(
        f"SELECT sender, max(ms) AS latest FROM ({_AHEAD}) GROUP BY sender"
        " ORDER BY latest DESC, sender LIMIT :limit",
        {"bound": bound, "limit": limit},
    ).fetchall()
    return PastClientIds(newest_ms, found)


def client_ids_above(db: sqlite3.Connection, after: int, limit: int) -> list[ClientIdAt]:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.client_ids_above`."""
    after = min(after, MAX_ROW_ID)
    with snapshot(db):
        found = db.execute(_ABOVE, {"after": after, "limit": limit}).fetchall()
        if found:
            found += db.execute(_REQUESTS_BETWEEN, (after, found[-1][0])).fetchall()
    return sorted((ClientIdAt(*row) for row in found), key=attrgetter("id"))
