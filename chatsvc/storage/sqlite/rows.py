"""Rows of records in the embedded store, and what each record adds to its conversation's."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from chatsvc.core.kinds import Kinds
from chatsvc.core.record import Record
from chatsvc.storage.client_ids import minted_ahead_ms
from chatsvc.storage.sqlite import changes, conversations, inbox, requests
from chatsvc.storage.sqlite.conversations import Stored
from chatsvc.storage.sqlite.inbox import InboxRow
from chatsvc.storage.sqlite.participants import cut_body, encode_names
from chatsvc.storage.sqlite.statements import insert_rows
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
    last_messages = _list_in_inboxes(db, counted, MESSAGE_ROW, stored)
    last_changes = _list_in_inboxes(db, others, CHANGE_ROW, stored) if others else {}
    ends = {number: (last_id, last_id) for number, last_id in last_messages.items()}
    for number, last_record in last_changes.items():
        last_id = last_messages.get(number, 0)
        ends[number] = last_id, max(last_id, last_record)
    conversations.move_on(db, ends)


def _list_in_inboxes(
    db: sqlite3.Connection,
    records: Sequence[Record],
    row_class: int,
    stored: Mapping[str, Stored],
) -> dict[int, int]:
    """List records, which ascend; return the last of each conversation that is for all of it."""
    listed: list[InboxRow] = []
    last: dict[int, int] = {}
    for record in records:
        record_id = record.id
        number, large, users, _, is_of_members = stored[record.channel]
        if is_of_members and record.audience:
            # To others it is as if it were not there.
            by_name = row_class + BY_NAME
            listed += [(user, by_name, record_id, number) for user in record.audience]
            continue
        if not large:
            listed += [(user, row_class, record_id, number) for user in users]
        last[number] = record_id
    inbox.insert(db, listed)
    return last


def _insert_messages(
    db: sqlite3.Connection, records: Sequence[Record], stored: Mapping[str, Stored]
) -> None:
    insert_rows(
        db,
        "messages (id, conversation, sender, origin, client_id, digest,"
        " minted_ahead_ms, named, cut, body)",
        [_message_row(record, stored[record.channel]) for record in records],
        10,
    )


def _message_row(record: Record, conversation: Stored) -> tuple[Any, ...]:
    cut, body = cut_body(record.body, conversation.encoded)
    return (
        record.id,
        conversation.number,
        record.sender,
        record.origin,
        record.client_id,
        record.digest,
        minted_ahead_ms(record) if record.client_id is not None else None,
        encode_names(record.audience) if conversation.is_of_members else None,
        cut,
        body,
    )
