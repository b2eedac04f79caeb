"""A store of version 1 upgraded to version 2: dead letters are found by their key."""

from __future__ import annotations

import sqlite3
from typing import Final

from chatsvc.storage.client_ids import letter_key
from chatsvc.storage.sqlite.dead_letters import above
from chatsvc.storage.sqlite.tables import execute_each

FILLED_AT_ONCE: Final = 100

# What version 2 had of messages beside this is left out: version 3 has other tables for them.
_VERSION_2: Final = """
ALTER TABLE dead_letters ADD COLUMN sender TEXT;
ALTER TABLE dead_letters ADD COLUMN channel TEXT;
ALTER TABLE dead_letters ADD COLUMN client_id TEXT;
ALTER TABLE dead_letters ADD COLUMN digest BLOB;
ALTER TABLE dead_letters ADD COLUMN minted_ahead_ms INTEGER;
CREATE INDEX dead_letter_key ON dead_letters (client_id, sender, channel)
    WHERE client_id IS NOT NULL;
"""


def upgrade(db: sqlite3.Connection) -> None:
    """Write the keys of letters that were put aside before keys were kept beside them."""
    execute_each(db, _VERSION_2)
    after = -1
    while letters := above(db, after, FILLED_AT_ONCE):
        db.executemany(
            "UPDATE dead_letters SET sender=?, channel=?, client_id=?, digest=?,"
            " minted_ahead_ms=? WHERE id=?",
            [(*letter_key(letter), letter.id) for letter in letters],
        )
        after = letters[-1].id
