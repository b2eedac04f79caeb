"""The records of the embedded store one behind the other, for what folds them anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from chatsvc.core.message import MESSAGE
from chatsvc.core.page import take
from chatsvc.core.record import Record
from chatsvc.storage.ports.projections import RecordScan
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.participants import (
    Participants,
    decode_names,
    participants_in,
    whole_body,
)
from chatsvc.storage.sqlite.statements import MAX_ROW_ID

_SCAN: Final = (
    "SELECT r.id, r.kind, r.target, r.sender, r.origin, r.client_id, r.digest, r.named, r.cut,"
    " r.body,"
    " c.number, c.channel, c.participants FROM ("
    " SELECT * FROM (SELECT id, NULL AS kind, '' AS target, conversation, sender, origin,"
    " client_id, digest, named, cut, body FROM messages WHERE id > :after AND id <= :up_to"
    " ORDER BY id LIMIT :limit)"
    " UNION ALL SELECT * FROM (SELECT id, kind, target, conversation, sender, origin,"
    " client_id, digest, named, NULL, body FROM changes WHERE id > :after AND id <= :up_to"
    " ORDER BY id LIMIT :limit)"
    ") r CROSS JOIN conversations c ON c.number = r.conversation ORDER BY r.id LIMIT :limit"
)


class SqliteScan(SqliteFile, RecordScan):
    """Reads messages and changes."""

    async def scan(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        bounds = {"after": after, "up_to": min(up_to, MAX_ROW_ID), "limit": limit}

        def read(db: sqlite3.Connection) -> list[Record]:
            with closing(db.execute(_SCAN, bounds)) as found:
                return take(_records(found), lambda one: len(one.body), max_bytes)

        return await self._reader.run(read)


def _records(rows: Iterable[tuple[Any, ...]]) -> Iterator[Record]:
    known: dict[int, Participants] = {}
    for row in rows:
        record_id, kind, target, sender, origin, client_id, digest, named, cut, body = row[:10]
        number, channel, encoded = row[10:]
        people = known.get(number)
        if people is None:
            people = known[number] = participants_in(encoded)
        yield Record(
            id=record_id,
            kind=kind or MESSAGE.name,
            channel=channel,
            audience=people.users if named is None else decode_names(named),
            sender=sender,
            origin=origin,
            client_id=client_id,
            digest=digest,
            body=whole_body(cut, body, people.member),
            target=target,
        )
