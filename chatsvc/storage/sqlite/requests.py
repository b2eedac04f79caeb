"""The requests that became one record, in the embedded store: each is found by its key."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from chatsvc.core.record import Record
from chatsvc.storage.client_ids import requests_in
from chatsvc.storage.letter_records import record_of
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite.conversations import Stored
from chatsvc.storage.sqlite.statements import NAMED, insert_rows, json_list


def insert(db: sqlite3.Connection, records: Sequence[Record], stored: Mapping[str, Stored]) -> None:
    """Add those of records that are not there yet."""
    merged = [record for record in records if record.keys]
    if not merged:
        return
    insert_rows(
        db,
        "requests (conversation, id, sender, client_id, digest, minted_ahead_ms)",
        [
            (stored[record.channel].number, record.id, *one)
            for record in merged
            for one in requests_in(record)
        ],
        6,
    )


def delete(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Remove those of these records."""
    db.execute(f"DELETE FROM requests WHERE id IN {NAMED}", (json_list(ids),))


def put_letters(db: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    """Add those of dead letters, in the place of what is under their ids."""
    delete_letters(db, [letter.id for letter in letters])
    records = [record for record in map(record_of, letters) if record is not None]
    insert_rows(
        db,
        "dead_letter_requests (channel, id, sender, client_id, digest, minted_ahead_ms)",
        [(record.channel, record.id, *one) for record in records for one in requests_in(record)],
        6,
    )


def delete_letters(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Remove those of these dead letters."""
    db.execute(f"DELETE FROM dead_letter_requests WHERE id IN {NAMED}", (json_list(ids),))
