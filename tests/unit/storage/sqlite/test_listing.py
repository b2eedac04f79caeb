"""Conversations are listed by a bounded walk where there are many; no list depends on it."""

from __future__ import annotations

import random
import sqlite3

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import NO_BYTE_BOUND
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.sqlite import listing, purging, writes
from testkit.records import KINDS, change, record

CROWD = ("bob", "carol", "dave", "eve")


def listed(db: sqlite3.Connection, user: str, limit: int, before: int = MAX_ID) -> list[int]:
    found = listing.conversations(db, user, before, limit, NO_BYTE_BOUND)
    return [one.last_id for one in found]


@pytest.mark.parametrize("sorted_at_once", [0, 5, 1000])
@pytest.mark.parametrize("walked", [1, 7, 30, 1000])
def test_lists_are_exact_however_they_are_found(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, walked: int, sorted_at_once: int
) -> None:
    monkeypatch.setattr(listing, "WALKED", walked)
    monkeypatch.setattr(listing, "SORTED_AT_ONCE", sorted_at_once)
    chance = random.Random(1)
    newest: dict[str, int] = {}
    batch = []
    for n in range(1, 200):
        other = f"user{min(int(chance.expovariate(0.1)), 30)}"
        one = record(n, to=("alice", other, *CROWD) if n % 9 == 0 else ("alice", other))
        newest[one.channel] = one.id
        batch.append(one)
    writes.write_records(db, batch)
    expected = sorted(newest.values(), reverse=True)
    assert len(expected) > 20
    for limit in (0, 1, 3, 10, 100):
        assert listed(db, "alice", limit) == expected[:limit]
        for before in (expected[0], expected[2], expected[5] + 1, expected[-1], 0):
            below = [last_id for last_id in expected if last_id < before]
            assert listed(db, "alice", limit, before) == below[:limit]
    assert listed(db, "mallory", 9) == []


def statements_of(db: sqlite3.Connection, limit: int) -> list[str]:
    found: list[str] = []
    db.set_trace_callback(found.append)
    listed(db, "alice", limit)
    db.set_trace_callback(None)
    return found


def test_few_conversations_are_sorted_and_many_walked_to(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "WALKED", 5)
    monkeypatch.setattr(listing, "SORTED_AT_ONCE", 3)

    def ways(limit: int) -> list[str]:
        found = statements_of(db, limit)
        sorting = sum("k.large = 0" in one for one in found)
        walking = sum("LIMIT 5) i" in one for one in found)
        return ["sort"] * sorting + ["walk"] * walking

    writes.write_records(db, [record(n, to=("alice", f"user{n}")) for n in range(1, 4)])
    assert ways(2) == ["sort"]
    writes.write_records(db, [record(4, to=("alice", "user4"))])
    assert ways(2) == ["walk"]
    assert ways(9) == ["walk"]  # the inbox ends within the rows that are looked at
    writes.write_records(db, [record(n, to=("alice", "user4")) for n in range(5, 10)])
    assert ways(1) == ["walk"]
    assert ways(2) == ["sort", "walk"]


def test_a_conversation_whose_messages_are_gone_is_not_listed(db: sqlite3.Connection) -> None:
    writes.write_records(db, [record(1), record(2, to=("alice", *CROWD)), record(3, to=("alice",))])
    purging.purge(db, record(3).id, 9)
    assert listed(db, "alice", 9) == [record(3).id]
    assert listing.members(db, "alice", "alice,bob") is None


@pytest.mark.parametrize("to", [("alice", "bob"), ("alice", *CROWD)])
def test_a_conversation_of_changes_is_not_listed(
    db: sqlite3.Connection, to: tuple[str, ...]
) -> None:
    writes.write_records(db, [change(1, to=to)], KINDS)
    writes.write_records(db, [record(2, to=("alice",))])
    assert listed(db, "alice", 9) == [record(2).id]
    found = listing.members(db, "alice", change(1, to=to).channel)
    assert found == Members(to, change(1).id)
    writes.write_records(db, [record(3, to=to)])
    assert listed(db, "alice", 9) == [record(3).id, record(2).id]
    found = listing.members(db, "alice", change(1, to=to).channel)
    assert found == Members(to, record(3).id)
