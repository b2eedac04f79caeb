"""The tables of the embedded store, in the version that this program writes."""

from __future__ import annotations

import sqlite3
from typing import Final

VERSION: Final = 3

MESSAGE_ROW: Final = 0
"""The class of a message in the inbox."""
CHANGE_ROW: Final = 1
"""The class of a change in the inbox."""
BY_NAME: Final = 2
"""Added to the class of a record that names whom it is for, in the channel of a group or a room."""

# A record costs a constant, whatever its audience. Conversations have numbers, and their
# participants are written once, as JSON, with the first record; a body leaves them out
# (participants.py). What every record moves is in a table of short rows, conversation_ends: 0
# where there is no message. Inboxes have a row for each participant of a set that is not large
# (WITHOUT ROWID: the rows are the index), with the conversation, so that a listing needs no
# message. Large ones are found through their members.
#
# Groups and rooms have conversations without participants, which stay for good: rows of
# memberships and channel_states refer to their numbers. A user's records of them are found through
# the intervals in memberships (ended and dissolved are NULL where there is no end). A record that
# names whom it is for is in their inboxes, under classes of its own, and has its audience in
# named; the indexes by conversation leave it out, so that no walk of others passes over it.
#
# The indexes of messages and changes end in the row id, as every index does: pages of a
# conversation are one walk along one. client_id comes first in its index because our clients'
# are UUIDv7: neighbours in time are neighbours in the tree. A rev is NULL where it is the id, a cut
# where the body is whole.
_TABLES: Final = """
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY,
    large INTEGER NOT NULL,
    channel TEXT NOT NULL,
    participants BLOB NOT NULL
);
CREATE UNIQUE INDEX conversation_channel ON conversations (channel);
CREATE TABLE conversation_ends (
    conversation INTEGER PRIMARY KEY,
    last_id INTEGER NOT NULL,
    last_record INTEGER NOT NULL
);
CREATE TABLE members (
    user TEXT NOT NULL,
    large INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    PRIMARY KEY (user, large, conversation)
) WITHOUT ROWID;
CREATE TABLE inbox (
    user TEXT NOT NULL,
    class INTEGER NOT NULL,
    id INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    PRIMARY KEY (user, class, id)
) WITHOUT ROWID;
CREATE INDEX inbox_named ON inbox (user, conversation, id) WHERE class >= 2;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    rev INTEGER,
    conversation INTEGER NOT NULL,
    sender TEXT NOT NULL,
    origin TEXT NOT NULL,
    client_id TEXT,
    digest BLOB NOT NULL,
    minted_ahead_ms INTEGER,
    named BLOB,
    cut INTEGER,
    body BLOB NOT NULL
);
CREATE INDEX message_conversation ON messages (conversation) WHERE named IS NULL;
CREATE INDEX message_client_id ON messages (client_id, sender, conversation)
    WHERE client_id IS NOT NULL;
CREATE INDEX message_ahead ON messages (minted_ahead_ms) WHERE minted_ahead_ms IS NOT NULL;
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    latest INTEGER NOT NULL,
    sender TEXT NOT NULL,
    origin TEXT NOT NULL,
    client_id TEXT,
    digest BLOB NOT NULL,
    minted_ahead_ms INTEGER,
    named BLOB,
    body BLOB NOT NULL
);
CREATE INDEX change_conversation ON changes (conversation) WHERE named IS NULL;
CREATE INDEX change_client_id ON changes (client_id, sender, conversation)
    WHERE client_id IS NOT NULL;
CREATE INDEX change_ahead ON changes (minted_ahead_ms) WHERE minted_ahead_ms IS NOT NULL;
CREATE UNIQUE INDEX change_latest ON changes (conversation, kind, target) WHERE latest = 1;
"""

# Each row with the id of the record that changed it last (state_rows.py).
_STATE: Final = """
CREATE TABLE memberships (
    user TEXT NOT NULL,
    conversation INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    ended INTEGER,
    role TEXT NOT NULL,
    visible_from INTEGER NOT NULL,
    muted_until INTEGER NOT NULL,
    banned_until INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    PRIMARY KEY (user, conversation, joined)
) WITHOUT ROWID;
CREATE TABLE channel_states (
    conversation INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    settings BLOB NOT NULL,
    dissolved INTEGER,
    rev INTEGER NOT NULL
);
CREATE TABLE filters (
    user TEXT NOT NULL,
    sort TEXT NOT NULL,
    about TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    PRIMARY KEY (user, sort, about, since)
) WITHOUT ROWID;
"""

# The requests that became one record, each under its key, by the record's id and by the key. As the
# rows are the primary key's, the index by key ends in the record's id. Those of a dead letter have
# the channel's key: its conversation may not be there.
_REQUESTS: Final = """
CREATE TABLE requests (
    id INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    conversation INTEGER NOT NULL,
    digest BLOB NOT NULL,
    minted_ahead_ms INTEGER,
    PRIMARY KEY (id, client_id, sender)
) WITHOUT ROWID;
CREATE INDEX request_key ON requests (client_id, sender, conversation);
CREATE INDEX request_ahead ON requests (minted_ahead_ms) WHERE minted_ahead_ms IS NOT NULL;
CREATE TABLE dead_letter_requests (
    id INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    channel TEXT NOT NULL,
    digest BLOB NOT NULL,
    minted_ahead_ms INTEGER,
    PRIMARY KEY (id, client_id, sender)
) WITHOUT ROWID;
CREATE INDEX dead_letter_request_key ON dead_letter_requests (client_id, sender, channel);
"""

_DEAD_LETTERS: Final = """
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    data BLOB NOT NULL,
    sender TEXT,
    channel TEXT,
    client_id TEXT,
    digest BLOB,
    minted_ahead_ms INTEGER
);
CREATE INDEX dead_letter_key ON dead_letters (client_id, sender, channel)
    WHERE client_id IS NOT NULL;
"""


def make_all(db: sqlite3.Connection) -> None:
    """Make the tables of a new store, but for ``meta``."""
    make_record_tables(db)
    execute_each(db, _DEAD_LETTERS)


def make_record_tables(db: sqlite3.Connection) -> None:
    """Make those that version 3 brought: all but the dead letters'."""
    execute_each(db, _TABLES)
    execute_each(db, _STATE)
    make_requests(db)


def make_requests(db: sqlite3.Connection) -> None:
    """Make those of the requests that became one record."""
    execute_each(db, _REQUESTS)


def execute_each(db: sqlite3.Connection, statements: str) -> None:
    """Run statements, within the transaction that is under way."""
    for statement in statements.split(";"):
        db.execute(statement)


def has_table(db: sqlite3.Connection, name: str) -> bool:
    """Whether the file has a table."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return db.execute(query, (name,)).fetchone() is not None


def is_before_release(db: sqlite3.Connection) -> bool:
    """Whether the tables are those of version 3 as they were before its release."""
    return has_table(db, "conversation_ends") and not has_table(db, "memberships")


def lacks_requests(db: sqlite3.Connection) -> bool:
    """Whether the tables are those of version 3 without the requests that became one record."""
    return has_table(db, "memberships") and not has_table(db, "requests")
