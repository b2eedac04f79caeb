"""A log and a store as the released version left them, with people's conversations in them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chatsvc.core.record import Record, checksum
from chatsvc.log.local.file import LogFile
from chatsvc.log.reconcile import Mark, fingerprint
from testkit import record_form_1
from testkit.records import record
from tests.fault.kit.members.places import Place

SETS: Final = (
    ("alice", "bob"),
    ("alice", "bob", "carol"),
    ("alice", "bob", "carol", "dave", "erin"),  # large: kept by conversation
    ("alice", "bob", *(f"user{number:03}" for number in range(40))),  # its key is a hash
)
"""Conversations of those who are there before the groups, and after."""


@dataclass(frozen=True)
class Past:
    """How much of it there is.

    Args:
        version: of the store. Version 1, the released one, knows no watermark.
        messages: how many there are.
        stored: how many of them, the first ones, are in the store, at most.
        trimmed: how many of those are no more in the log, at most.
        marked: whether the store has a watermark.
    """

    version: int = 1
    messages: int = 8
    stored: int = 8
    trimmed: int = 0
    marked: bool = False

    def write(self, log_folder: Path, place: Place) -> list[Record]:
        """Write both; all messages."""
        written = [
            record_form_1.as_before(
                record(number, f"old {number}", to=SETS[number % len(SETS)], client_id=f"k{number}")
            )
            for number in range(1, self.messages + 1)
        ]
        stored = written[: self.stored]
        last = stored[-1].id if stored else 0
        with closing(LogFile(log_folder / "log.db")) as file:
            packed = [
                (one.id, record_form_1.pack(one))
                for one in written[min(self.trimmed, len(stored)) :]
            ]
            if packed:
                file.insert([(key, checksum(key, data), data) for key, data in packed])
            mark = None
            if self.version > 1 and self.marked and stored:
                content = fingerprint(stored[-1].body)
                mark = Mark(last, 0, str(file.meta("epoch")), content=content)
                file.set_meta("marked", 1)
            file.set_meta("store", place.write_old(self.version, stored, mark))
            file.set_meta("watermark", last)
        _as_before(log_folder / "log.db")
        return written


def _as_before(path: Path) -> None:
    """The file has version 1, and says nothing of newer things."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM meta WHERE key = 'trimmed'")
        for table in ("members", "channels", "filters"):
            db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA user_version=1")
