"""The embedded store's tables, their version, and the way from each version to the next."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from chatsvc.core.errors import VersionTooNew
from chatsvc.storage.sqlite import dead_letters
from chatsvc.storage.sqlite.statements import transaction

# The index of messages ends in the row id, as every index does: pages of a conversation
# are one walk along it. Audience rows are the index themselves (WITHOUT ROWID). Members
# are written when a conversation begins, not with every message: a user's listing sorts
# their conversations instead. client_id comes first in its index because our clients'
# are UUIDv7: neighbours in time are neighbours in the tree.
_VERSION_1: Final = """
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

# Dead letters are found by their key, and senders whose clock was ahead by theirs.
_VERSION_2: Final = """
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


def _to_version_2(db: sqlite3.Connection) -> None:
    _execute(db, _VERSION_2)
    dead_letters.fill_keys(db)


Step = str | Callable[[sqlite3.Connection], None]

STEPS: Final[tuple[Step, ...]] = (_VERSION_1, _to_version_2)
"""Step *n* (from 0) moves a store of version *n* to *n + 1*; 0 is an empty file."""


def found_version(db: sqlite3.Connection) -> int:
    """The version of the tables in the file, 0 if there are none."""
    made = db.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name='meta'").fetchone()
    if made is None:
        return 0
    row = db.execute("SELECT value FROM meta WHERE name='version'").fetchone()
    return int(row[0]) if row else 0


def bring_up(db: sqlite3.Connection, steps: Sequence[Step] = STEPS) -> None:
    """Make the tables, or move older ones forward, in one transaction.

    Raises:
        VersionTooNew: the file was written by a newer program; it is not touched.
    """
    if _check(found_version(db), steps) == len(steps):
        return
    with transaction(db):
        # Looked at again under the lock: another process may have been first.
        found = _check(found_version(db), steps)
        db.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        for step in steps[found:]:
            if isinstance(step, str):
                _execute(db, step)
            else:
                step(db)
        db.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (str(len(steps)),))
        db.execute("INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (secrets.token_hex(16),))


def _execute(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        db.execute(statement)


def _check(found: int, steps: Sequence[Step]) -> int:
    if found > len(steps):
        raise VersionTooNew(
            f"the store has version {found}; this program knows up to {len(steps)}: "
            "run the version that wrote it, or a newer one"
        )
    return found
