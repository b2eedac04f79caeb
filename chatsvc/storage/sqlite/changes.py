"""Rows of changes in the embedded store: of every record that is no message."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from chatsvc.core.kinds import Kinds
from chatsvc.core.record import Record
from chatsvc.storage.client_ids import minted_ahead_ms
from chatsvc.storage.sqlite import inbox, requests
from chatsvc.storage.sqlite.conversations import Stored
from chatsvc.storage.sqlite.inbox import Listed
from chatsvc.storage.sqlite.participants import decode_names, encode_names
from chatsvc.storage.sqlite.statements import NAMED, insert_rows, json_list, select_joined
from chatsvc.storage.sqlite.tables import BY_NAME, CHANGE_ROW


def insert(
    db: sqlite3.Connection, records: Sequence[Record], stored: Mapping[str, Stored], kinds: Kinds
) -> None:
    """Add rows; none of the ids is there yet, and none is of a ``latest`` that is outdated."""
    insert_rows(
        db,
        "changes (id, conversation, kind, target, latest, sender, origin, client_id,"
        " digest, minted_ahead_ms, named, body)",
        [
            (
                record.id,
                stored[record.channel].number,
                record.kind,
                record.target,
                kinds.is_latest(record.kind),
                record.sender,
                record.origin,
                record.client_id,
                record.digest,
                minted_ahead_ms(record),
                encode_names(stored[record.channel].named_in(record)),
                record.body,
            )
            for record in records
        ],
        12,
    )


def replace_latest(
    db: sqlite3.Connection, records: Sequence[Record], stored: Mapping[str, Stored], kinds: Kinds
) -> list[Record]:
    """Of each conversation, ``latest`` kind and target keep the newest record alone.

    Rows of older ones are removed.

    Returns:
        The records without those that are outdated.
    """
    about: dict[tuple[int, str, str], Record] = {}
    for record in records:
        if kinds.is_latest(record.kind):
            key = stored[record.channel].number, record.kind, record.target
            if key not in about or about[key].id < record.id:
                about[key] = record
    if not about:
        return list(records)
    held = select_joined(  # no JSON: a target may hold a NUL
        db,
        "h.id, h.named, h.conversation, h.kind, h.target",
        about,
        3,
        "CROSS JOIN changes h ON h.latest = 1 AND h.conversation = j.column1"
        " AND h.kind = j.column2 AND h.target = j.column3",
    )
    replaced: list[Listed] = []
    for record_id, named, *key in held:
        newer = about[key[0], key[1], key[2]]
        if newer.id < record_id:
            del about[key[0], key[1], key[2]]
        else:
            users, row_class = listed_users(stored[newer.channel]), CHANGE_ROW
            if named is not None:
                users, row_class = decode_names(named), CHANGE_ROW + BY_NAME
            replaced.append(Listed(users, row_class, record_id, key[0]))
    if replaced:
        ids = [one.id for one in replaced]
        inbox.delete(db, replaced)
        requests.delete(db, ids)
        delete(db, ids)
    kept = {record.id for record in about.values()}
    return [one for one in records if one.id in kept or not kinds.is_latest(one.kind)]


def listed_users(conversation: Stored) -> tuple[str, ...]:
    """Whose inboxes have the records of a conversation."""
    return () if conversation.large else conversation.users


def delete(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Remove rows of changes."""
    db.execute(f"DELETE FROM changes WHERE id IN {NAMED}", (json_list(ids),))
