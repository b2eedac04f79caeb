"""Rows of dead letters in the embedded store, each with the key it was accepted under."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from chatsvc.storage.client_ids import letter_key
from chatsvc.storage.ports.dead_letters import DeadLetter

_AT_ONCE: Final = 100


def put(db: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    """Insert or replace, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.executemany(
            "INSERT OR REPLACE INTO dead_letters (id, code, reason, at_ms, data, sender, channel,"
            " client_id, digest, minted_ahead_ms) VALUES (?,?,?,?,?,?,?,?,?,?)",
            [(*letter, *letter_key(letter)) for letter in letters],
        )
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def newest(db: sqlite3.Connection) -> DeadLetter | None:
    """The letter with the highest id."""
    row = db.execute(
        "SELECT id, code, reason, at_ms, data FROM dead_letters ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return DeadLetter(*row) if row else None


def fill_keys(db: sqlite3.Connection) -> None:
    """Write the keys of letters that were put aside before keys were kept beside them."""
    after = -1
    while True:
        found = db.execute(
            "SELECT id, code, reason, at_ms, data FROM dead_letters"
            " WHERE id > ? ORDER BY id LIMIT ?",
            (after, _AT_ONCE),
        ).fetchall()
        if not found:
            return
        letters = [DeadLetter(*row) for row in found]
        db.executemany(
            "UPDATE dead_letters SET sender=?, channel=?, client_id=?, digest=?,"
            " minted_ahead_ms=? WHERE id=?",
            [(*letter_key(letter), letter.id) for letter in letters],
        )
        after = letters[-1].id
