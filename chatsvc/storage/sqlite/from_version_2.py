"""A store of version 2 upgraded to version 3: a record costs a constant, whatever its audience.

Version 2 had a row for each message and recipient. Its messages are put under another name, moved
some thousand at a time, the oldest first, and deleted where they were in the same transaction:
what is left of the old table is what is left to do, and its space is used again. The old table
goes with its last message.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Final

from chatsvc.core.message import MESSAGE, MESSAGES_ONLY
from chatsvc.core.page import take
from chatsvc.core.record import Record
from chatsvc.storage.sqlite import conversations, rows
from chatsvc.storage.sqlite.tables import execute_each, has_table, make_record_tables

MOVED_AT_ONCE: Final = 20_000
"""Each adds to the end of many inboxes: with fewer, more is written."""
_MOVED_BYTES: Final = 8 * 1024 * 1024
"""Of bodies in memory; a transaction with more of them has fewer messages."""

_OLD_MESSAGES: Final = "messages_of_version_2"
_BEGIN: Final = f"""
DROP TABLE audience;
DROP TABLE conversations;
DROP TABLE members;
DROP INDEX message_channel;
DROP INDEX message_key;
DROP INDEX IF EXISTS message_minted_ahead;
ALTER TABLE messages RENAME TO {_OLD_MESSAGES}
"""


def is_unfinished(db: sqlite3.Connection) -> bool:
    """Whether there are messages left to be moved."""
    return has_table(db, _OLD_MESSAGES)


def begin(db: sqlite3.Connection) -> None:
    """Remove what can be made anew from the messages, and make the new tables."""
    execute_each(db, _BEGIN)
    make_record_tables(db)


def move_some(db: sqlite3.Connection) -> int:
    """Move the oldest that are left, or remove the table that held them; how many went.

    The participants of a conversation are the audience of its first message: no version of the
    program ever wrote another for a later one.
    """
    found = db.execute(
        "SELECT id, channel, audience, sender, origin, client_id, digest, body"
        f" FROM {_OLD_MESSAGES} ORDER BY id LIMIT ?",
        (MOVED_AT_ONCE,),
    )
    with closing(found):
        records = take(map(_record, found), lambda one: len(one.body), _MOVED_BYTES)
    if not records:
        db.execute(f"DROP TABLE {_OLD_MESSAGES}")
        return 0
    stored = conversations.numbered(db, records)
    rows.insert(db, records, stored, MESSAGES_ONLY)
    db.execute(f"DELETE FROM {_OLD_MESSAGES} WHERE id <= ?", (records[-1].id,))
    return len(records)


def _record(row: tuple[Any, ...]) -> Record:
    record_id, channel, audience, sender, origin, client_id, digest, body = row
    return Record(
        id=record_id,
        kind=MESSAGE.name,
        channel=channel,
        audience=tuple(audience.split(",")) if audience else (),  # no user id holds a comma
        sender=sender,
        origin=origin,
        client_id=client_id,
        digest=digest,
        body=body,
    )
