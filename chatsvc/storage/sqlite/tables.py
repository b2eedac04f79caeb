"""The tables of the embedded store, in the version that this program writes."""

from __future__ import annotations

import sqlite3
from typing import Final

VERSION: Final = 3

MESSAGE_ROW: Final = 0
"""The class of a message in the inbox."""
CHANGE_ROW: Final = 1
"""The class of a change in the inbox."""

# A record costs a constant, whatever its audience. Conversations have numbers, and their
# participants are written once, as JSON, with the first record; a body leaves them out
# (participants.py). What every record moves is in a table of short rows, conversation_ends: 0
# where there is no message. Inboxes have a row for each participant of a set that is not large
# (WITHOUT ROWID: the rows are the index), with the conversation, so that a listing needs no
# message. Large ones are found through their members.
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
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    rev INTEGER,
    conversation INTEGER NOT NULL,
    sender TEXT NOT NULL,
    origin TEXT NOT NULL,
    client_id TEXT,
    digest BLOB NOT NULL,
    minted_ahead_ms INTEGER,
    cut INTEGER,
    body BLOB NOT NULL
);
CREATE INDEX message_conversation ON messages (conversation);
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
    body BLOB NOT NULL
);
CREATE INDEX change_conversation ON changes (conversation);
CREATE INDEX change_client_id ON changes (client_id, sender, conversation)
    WHERE client_id IS NOT NULL;
CREATE INDEX change_ahead ON changes (minted_ahead_ms) WHERE minted_ahead_ms IS NOT NULL;
CREATE UNIQUE INDEX change_latest ON changes (conversation, kind, target) WHERE latest = 1;
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


def execute_each(db: sqlite3.Connection, statements: str) -> None:
    """Run statements, within the transaction that is under way."""
    for statement in statements.split(";"):
        db.execute(statement)


def has_table(db: sqlite3.Connection, name: str) -> bool:
    """Whether the file has a table."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return db.execute(query, (name,)).fetchone() is not None
