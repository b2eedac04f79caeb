"""Embedded stores as older versions of the program wrote them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chatsvc.core.record import Record
from chatsvc.storage.client_ids import letter_key, minted_ahead_ms
from chatsvc.storage.ports.dead_letters import DeadLetter

IDENTITY = "0123456789abcdef0123456789abcdef"

VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    rev INTEGER NOT NULL,
    channel TEXT NOT NULL,
    sender TEXT NOT NULL,
    origin TEXT NOT NULL,
    client_id TEXT,
    digest BLOB NOT NULL,
    audience TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX message_channel ON messages (channel);
CREATE INDEX message_key ON messages (client_id, sender, channel) WHERE client_id IS NOT NULL;
CREATE TABLE audience (
    user TEXT NOT NULL,
    rev INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (user, rev)
) WITHOUT ROWID;
CREATE TABLE conversations (
    channel TEXT PRIMARY KEY,
    last_id INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE members (
    user TEXT NOT NULL,
    channel TEXT NOT NULL,
    PRIMARY KEY (user, channel)
) WITHOUT ROWID;
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    data BLOB NOT NULL
);
"""
VERSION_2 = """
ALTER TABLE messages ADD COLUMN minted_ahead_ms INTEGER;
CREATE INDEX message_minted_ahead ON messages (minted_ahead_ms)
    WHERE minted_ahead_ms IS NOT NULL;
ALTER TABLE dead_letters ADD COLUMN sender TEXT;
ALTER TABLE dead_letters ADD COLUMN channel TEXT;
ALTER TABLE dead_letters ADD COLUMN client_id TEXT;
ALTER TABLE dead_letters ADD COLUMN digest BLOB;
ALTER TABLE dead_letters ADD COLUMN minted_ahead_ms INTEGER;
CREATE INDEX dead_letter_key ON dead_letters (client_id, sender, channel)
    WHERE client_id IS NOT NULL;
"""


@contextmanager
def old_store(path: Path | str, version: int) -> Iterator[sqlite3.Connection]:
    """An empty store of version 1 or 2, with a name."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.executescript(VERSION_1 if version == 1 else VERSION_1 + VERSION_2)
        values = [("version", str(version)), ("identity", IDENTITY)]
        db.executemany("INSERT INTO meta VALUES (?, ?)", values)
        yield db
    finally:
        db.close()


def put_messages(db: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Write messages, which ascend, as the version of the store did."""
    version = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0]
    minted = (lambda one: ()) if version == "1" else (lambda one: (minted_ahead_ms(one),))
    columns = 9 if version == "1" else 10
    db.execute("BEGIN")
    for one in records:
        db.execute(
            f"INSERT INTO messages VALUES ({','.join('?' * columns)})",
            (
                one.id,
                one.id,
                one.channel,
                one.sender,
                one.origin,
                one.client_id,
                one.digest,
                ",".join(one.audience),
                one.body,
                *minted(one),
            ),
        )
        rows = [(user, one.id, one.id) for user in one.audience]
        db.executemany("INSERT INTO audience VALUES (?,?,?)", rows)
        db.execute("INSERT OR REPLACE INTO conversations VALUES (?,?)", (one.channel, one.id))
        members = [(user, one.channel) for user in one.audience]
        db.executemany("INSERT OR IGNORE INTO members VALUES (?,?)", members)
    db.execute("COMMIT")


def put_letters(db: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
    """Put letters aside as version 2 did."""
    rows = [(*letter, *letter_key(letter)) for letter in letters]
    db.executemany("INSERT INTO dead_letters VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
