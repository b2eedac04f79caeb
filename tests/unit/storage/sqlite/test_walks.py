"""What is merged from the inbox and from large conversations is what a plain search finds."""

from __future__ import annotations

import random
import sqlite3

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.sqlite import walks, writes
from testkit.records import KINDS, START, change, record

CROWD = ("dave", "eve", "frank", "grace", "heidi")
AUDIENCES = (
    ("alice", "bob"),
    ("alice", "bob", "carol", "dave"),
    ("alice", *CROWD),
    ("alice", "bob", *CROWD),
    ("alice", "carol", *CROWD),
    ("bob", "carol", *CROWD),
)


def written(db: sqlite3.Connection, seed: int) -> list[Record]:
    """Thirty records of all conversations; of ``read`` the newest alone are found."""
    chance = random.Random(seed)
    found: list[Record] = []
    for number in range(1, 31):
        to = chance.choice(AUDIENCES)
        kind = chance.choice(("message", "message", "edit", "read"))
        one = record(number, to=to) if kind == "message" else change(number, kind, to=to)
        found.append(one)
    for first in range(0, 30, 7):
        assert writes.write_records(db, found[first : first + 7], KINDS) == []
    latest = {one.channel: one.id for one in found if one.kind == "read"}
    return [one for one in found if one.kind != "read" or latest[one.channel] == one.id]


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_every_range_is_found(db: sqlite3.Connection, seed: int, newest: bool) -> None:
    records = written(db, seed)
    places = [0, START, *(records[at].id for at in (0, 5, 6, 17, -2, -1)), MAX_ID]
    for user in ("alice", "bob", "heidi", "mallory"):
        for changes in (True, False):
            own = [
                one.id
                for one in records
                if user in one.audience and (changes or one.kind == "message")
            ]
            for after in places:
                for before in places:
                    inside = [one for one in own if after < one < before]
                    for limit in (0, 1, 4, 99):
                        bounds = Bounds(limit, after, before, newest)
                        expected = inside[::-1] if newest else inside
                        got = walks.user_ids(db, user, bounds, changes=changes)
                        assert got == expected[:limit], bounds
                        count = walks.count_user(db, user, bounds, changes=changes)
                        assert count == len(expected[:limit]), bounds


@pytest.mark.parametrize("newest", [True, False])
def test_every_range_of_a_conversation_is_found(db: sqlite3.Connection, newest: bool) -> None:
    records = written(db, 1)
    places = [0, *(one.id for one in records[::4]), MAX_ID]
    for channel in {one.channel for one in records}:
        for after in places:
            for before in places:
                inside = [
                    one.id for one in records if one.channel == channel and after < one.id < before
                ]
                expected = inside[::-1] if newest else inside
                for limit in (0, 2, 99):
                    bounds = Bounds(limit, after, before, newest)
                    assert walks.channel_ids(db, channel, bounds, "bob") == expected[:limit]
    assert walks.channel_ids(db, "elsewhere", Bounds(9), "bob") == []


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("newest", [True, False])
def test_a_conversation_that_ended_before_the_range_is_not_looked_at(
    db: sqlite3.Connection, newest: bool, changes: bool
) -> None:
    records = [record(n, to=AUDIENCES[2]) for n in range(1, 6)]
    writes.write_records(db, records)
    bounds = Bounds(9, records[2].id, newest=newest)
    assert len(walks.user_ids(db, "alice", bounds, changes=changes)) == 2
    # As if it had ended there: what is behind that can be found by looking at it alone.
    column = "last_record" if changes else "last_id"
    db.execute(f"UPDATE conversation_ends SET {column} = ?", (records[2].id,))
    assert walks.user_ids(db, "alice", bounds, changes=changes) == []
    assert walks.count_user(db, "alice", bounds, changes=changes) == 0
