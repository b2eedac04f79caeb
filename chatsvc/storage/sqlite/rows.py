"""Rows of records in the embedded store, and what each record adds to its conversation's."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from chatsvc.core.kinds import Kinds
from chatsvc.core.record import Record
from chatsvc.storage.client_ids import minted_ahead_ms
from chatsvc.storage.sqlite import changes, conversations, inbox, requests
from chatsvc.storage.sqlite.conversations import Stored
from chatsvc.storage.sqlite.inbox import Listed
from chatsvc.storage.sqlite.participants import cut_body, encode_names
from chatsvc.storage.sqlite.statements import in_bulk
from chatsvc.storage.sqlite.tables import BY_NAME, CHANGE_ROW, MESSAGE_ROW


def insert(
    db: sqlite3.Connection,
    records: Sequence[Record],
    stored: Mapping[str, Stored],
    kinds: Kinds,
) -> None:
    """Add records that are not there yet, and move their conversations on."""
    counted = [record for record in records if kinds.counts(record.kind)]
    others: list[Record] = []
    if len(counted) < len(records):
        others = [record for record in records if not kinds.counts(record.kind)]
        others = changes.replace_latest(db, others, stored, kinds)
        changes.insert(db, others, stored, kinds)
    _insert_messages(db, counted, stored)
    requests.insert(db, [*counted, *others] if others else counted, stored)
    listed: list[Listed] = []
    ends: dict[int, tuple[int, int]] = {}
    for row_class, placed in ((MESSAGE_ROW, counted), (CHANGE_ROW, others)):
        for record in placed:
            conversation = stored[record.channel]
            number = conversation.number
            if named := conversation.named_in(record):
                listed.append(Listed(named, row_class + BY_NAME, record.id, number))
                continue  # to others it is as if it were not there
            if not conversation.large:
                listed.append(Listed(conversation.users, row_class, record.id, number))
            last_id, last_record = ends.get(number, (0, 0))
            if row_class == MESSAGE_ROW:
                last_id = record.id  # they ascend
            ends[number] = last_id, max(last_record, record.id)
    inbox.insert(db, listed)
    conversations.move_on(db, ends)


def _insert_messages(
    db: sqlite3.Connection, records: Sequence[Record], stored: Mapping[str, Stored]
) -> None:
    in_bulk(
        db,
        "INSERT INTO messages (id, conversation, sender, origin, client_id, digest,"
        " minted_ahead_ms, named, cut, body) SELECT * FROM",
        [
            (
                record.id,
                stored[record.channel].number,
                record.sender,
                record.origin,
                record.client_id,
                record.digest,
                minted_ahead_ms(record),
                encode_names(stored[record.channel].named_in(record)),
                *cut_body(record.body, stored[record.channel].encoded),
            )
            for record in records
        ],
        10,
    )
