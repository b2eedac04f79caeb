"""Old records are deleted in bounded steps, with all that is left without anything."""

from __future__ import annotations

import sqlite3

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import Bounds
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.sqlite import listing, purging, writes
from chatsvc.storage.sqlite import records as sqlite_records
from testkit.records import KINDS, change, record
from tests.unit.support.sqlite_rows import counts

TABLES = ("messages", "changes", "inbox", "conversations", "conversation_ends", "members")
CROWD = ("alice", *(f"user{n}" for n in range(9)))


@pytest.mark.parametrize("to", [("alice", "bob"), CROWD])
def test_a_conversation_stays_while_it_has_a_change(
    db: sqlite3.Connection, to: tuple[str, ...]
) -> None:
    writes.write_records(db, [record(1, to=to), change(2, to=to), change(3, to=to)], KINDS)
    listed = 0 if len(to) > 4 else len(to)
    assert purging.purge(db, record(3).id, 9) == 2
    assert counts(db, TABLES) == [0, 1, listed, 1, 1, len(to)]
    assert listing.conversations(db, "alice", MAX_ID, 9, 1 << 20) == []
    assert listing.members(db, "alice", record(1, to=to).channel) == Members(to, record(3).id)
    assert [one.id for one in sqlite_records.user_records(db, to[-1], Bounds(9))] == [record(3).id]
    writes.write_records(db, [record(4, to=to)], KINDS)
    assert len(listing.conversations(db, "alice", MAX_ID, 9, 1 << 20)) == 1
    assert purging.purge(db, MAX_ID, 9) == 2
    assert counts(db, TABLES) == [0] * 6


def test_what_is_left_is_untouched(db: sqlite3.Connection) -> None:
    writes.write_records(db, [record(1), change(2), record(3), change(4), record(5)], KINDS)
    writes.write_records(db, [record(6, to=CROWD), change(7, to=CROWD)], KINDS)
    assert purging.purge(db, record(4).id, 9) == 3
    assert counts(db, TABLES) == [2, 2, 4, 2, 2, 12]
    found = sqlite_records.user_records(db, "alice", Bounds(9))
    assert [one.id for one in found] == [record(n).id for n in (4, 5, 6, 7)]


def test_a_step_is_bounded_by_the_rows_that_it_deletes(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "PURGED_ROWS", 11)
    # A message and ten members each; then three rows each, and five with the last.
    batch = [record(n, to=(*CROWD[:9], f"other{n}")) for n in range(1, 4)]
    batch += [record(n) for n in range(4, 9)]
    writes.write_records(db, batch, KINDS)
    assert [purging.purge(db, MAX_ID, 99) for _ in range(6)] == [1, 1, 1, 3, 2, 0]
    assert counts(db, TABLES) == [0] * 6


def test_messages_of_a_large_conversation_are_a_row_each(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [record(n, to=CROWD) for n in range(1, 6)]
    for rows, purged in ((14, [4, 1, 0]), (15, [5, 0, 0])):  # the last ends ten members too
        monkeypatch.setattr(purging, "PURGED_ROWS", rows)
        writes.write_records(db, batch)
        statements: list[str] = []
        db.set_trace_callback(statements.append)
        assert [purging.purge(db, MAX_ID, 99) for _ in range(3)] == purged
        assert not [one for one in statements if one.startswith("DELETE FROM inbox")]


def test_one_record_is_deleted_however_many_rows_it_has(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "PURGED_ROWS", 1)
    writes.write_records(db, [record(1, to=CROWD), record(2)], KINDS)
    assert [purging.purge(db, MAX_ID, 99) for _ in range(3)] == [1, 1, 0]
