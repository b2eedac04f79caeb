"""Rows of the embedded store: what a batch and a purge leave in the tables."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from chatsvc.core.audience import is_large
from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import Bounds
from chatsvc.core.record import accept
from chatsvc.storage.sqlite import listing, messages, purging, writes
from chatsvc.storage.sqlite import records as sqlite_records
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, size_for
from testkit.records import KINDS, change, draft, record, records
from tests.unit.support.sqlite_rows import counts

TABLES = ("messages", "inbox", "conversations", "members", "conversation_ends", "changes")


def test_the_lowest_and_the_highest_id_that_a_row_can_have(db: sqlite3.Connection) -> None:
    fit = [accept(draft(), number) for number in (1, MAX_ROW_ID)]
    unfit = [accept(draft(), number) for number in (0, MAX_ROW_ID + 1)]
    rejections = writes.write_records(db, sorted([*fit, *unfit], key=lambda one: one.id))
    assert [one.record for one in rejections] == unfit
    assert {one.code for one in rejections} == {"id_out_of_range"}
    assert all("63 bits" in one.reason for one in rejections)
    assert [messages.message(db, one.id) is not None for one in fit] == [True, True]


def test_the_newest_message_alone_is_written_again(db: sqlite3.Connection) -> None:
    writes.write_records(db, records(2))
    before = counts(db, TABLES)
    assert writes.write_records(db, [record(2)]) == []
    assert counts(db, TABLES) == before


def test_no_statement_has_more_than_six_thousand_values(db: sqlite3.Connection) -> None:
    db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 6000)
    assert writes.write_records(db, records(1300)) == []
    assert counts(db, TABLES) == [1300, 2600, 1, 2, 1, 0]


@pytest.mark.parametrize("count", [1, 8, 9, 17, 511, 513])
def test_rows_are_added_up_to_the_size_of_a_statement_and_none_is_stored(
    db: sqlite3.Connection, count: int
) -> None:
    assert writes.write_records(db, records(count)) == []
    assert counts(db, TABLES) == [count, 2 * count, 1, 2, 1, 0]


def test_statements_have_few_sizes() -> None:
    """To compile one costs more than to run it, and the connection keeps a number of them."""
    sizes = [size_for(rows) for rows in range(1, 1025)]
    assert sizes[:20] == [*range(1, 9), 10, 10, 12, 12, 14, 14, 16, 16, 20, 20, 20, 20]
    assert all(rows <= size <= rows * 1.25 for rows, size in enumerate(sizes, 1))
    assert len(set(sizes)) == 36


def test_a_conversation_has_the_newest_of_a_batch(db: sqlite3.Connection) -> None:
    writes.write_records(db, records(3))
    (row,) = listing.conversations(db, "alice", MAX_ID, 5, 1 << 20)
    assert row.last_id == record(3).id


def test_a_purge_leaves_no_rows(db: sqlite3.Connection) -> None:
    crowd = tuple(f"participant-{number:03}" for number in range(30))
    writes.write_records(db, [record(1, to=crowd), *records(2, first=2)])
    assert record(1, to=crowd).channel.startswith(",sha256:")
    assert purging.purge(db, record(2).id, 10) == 1
    assert counts(db, TABLES) == [2, 4, 1, 2, 1, 0]
    assert purging.purge(db, MAX_ID, 10) == 2
    assert counts(db, TABLES) == [0] * 6


def test_rows_whose_revision_is_not_their_id(db: sqlite3.Connection) -> None:
    writes.write_records(db, records(3))
    db.execute("UPDATE messages SET rev = id + 1000000 WHERE id = ?", (record(2).id,))
    revs = [record(1).id, record(2).id + 1_000_000, record(3).id]
    for page in (
        messages.user_page(db, "alice", Bounds(9)),
        messages.channel_page(db, "alice,bob", Bounds(9)),
        sqlite_records.user_records(db, "alice", Bounds(9)),
    ):
        assert [(one.id, one.rev) for one in page] == list(
            zip([record(n).id for n in (1, 2, 3)], revs, strict=True)
        )


def test_an_id_that_is_twice_in_a_batch_is_compared(db: sqlite3.Connection) -> None:
    twice, another = record(2), record(2, "another")
    rejections = writes.write_records(db, [record(1), twice, twice, another, record(3)])
    assert [(one.record, one.code) for one in rejections] == [(another, "digest_conflict")]
    assert counts(db, TABLES) == [3, 6, 1, 2, 1, 0]


def test_a_conversation_of_nobody_is_one(db: sqlite3.Connection) -> None:
    nobody = msgspec.structs.replace(
        record(1), channel="", audience=(), body=b'{"type":"message","participants":[]}'
    )
    assert writes.write_records(db, [nobody]) == []
    found = messages.message(db, nobody.id)
    assert found is not None
    assert (found.audience, found.body) == ((), nobody.body)


def test_a_conversation_keeps_its_participants(db: sqlite3.Connection) -> None:
    """A record of it that is for others is rejected, in one batch and in a later."""
    both, one = ("alice", "bob"), ("alice",)
    alone = msgspec.structs.replace(change(2), audience=one)
    (rejected,) = writes.write_records(db, [change(1), alone, record(3)], KINDS)
    assert (rejected.record, rejected.code) == (alone, "audience_mismatch")
    other = msgspec.structs.replace(
        record(4), audience=one, body=b'{"type":"message","participants":["alice"]}'
    )
    (rejected,) = writes.write_records(db, [other, record(5)], KINDS)
    assert (rejected.record, rejected.code) == (other, "audience_mismatch")
    assert counts(db, TABLES) == [2, 6, 1, 2, 1, 1]
    found = sqlite_records.user_records(db, "alice", Bounds(9))
    assert [(entry.id, entry.audience) for entry in found] == [
        (record(n).id, both) for n in (1, 3, 5)
    ]


@pytest.mark.parametrize("size", [4, 5, 250])
def test_a_large_audience_costs_no_rows_after_the_first(db: sqlite3.Connection, size: int) -> None:
    to = tuple(f"user{n:03}" for n in range(size))
    writes.write_records(db, [record(1, to=to), change(2, to=to)], KINDS)
    listed = 0 if is_large(to) else size
    assert counts(db, TABLES) == [1, 2 * listed, 1, size, 1, 1]
    writes.write_records(db, [record(3, to=to), change(4, to=to)], KINDS)
    assert counts(db, TABLES) == [2, 4 * listed, 1, size, 1, 2]
    (body,) = db.execute("SELECT body FROM messages WHERE id = ?", (record(3).id,)).fetchone()
    assert b"participants" not in body


def test_an_older_record_that_comes_later_moves_no_conversation_back(
    db: sqlite3.Connection,
) -> None:
    to = tuple(f"user{n:03}" for n in range(5))
    writes.write_records(db, [record(3, to=to), change(5, to=to)], KINDS)
    writes.write_records(db, [record(1, to=to), change(2, to=to)], KINDS)
    bounds = Bounds(9, record(4).id, newest=False)
    assert [one.id for one in sqlite_records.user_records(db, to[0], bounds)] == [record(5).id]
    bounds = Bounds(9, record(2).id, newest=False)
    assert [one.id for one in messages.user_page(db, to[0], bounds)] == [record(3).id]


@pytest.mark.parametrize(("size", "removed"), [(4, 4), (5, 0)])
def test_a_replaced_latest_costs_a_large_audience_nothing(
    db: sqlite3.Connection, size: int, removed: int
) -> None:
    to = tuple(f"user{n:03}" for n in range(size))
    writes.write_records(db, [change(1, "read", to=to)], KINDS)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    writes.write_records(db, [change(2, "read", to=to)], KINDS)
    assert sum(one.startswith("DELETE FROM inbox") for one in statements) == removed


@pytest.mark.parametrize("size", [2, 5])
def test_an_outdated_latest_leaves_no_row(db: sqlite3.Connection, size: int) -> None:
    to = tuple(f"user{n:03}" for n in range(size))
    listed = 0 if is_large(to) else size
    read = {n: change(n, "read", to=to, target="user000") for n in range(1, 6)}
    for numbers, newest in (([2], 2), ([3, 4], 4), ([1, 2], 4), ([4, 5], 5), ([3], 5)):
        assert writes.write_records(db, [read[n] for n in numbers], KINDS) == []
        assert counts(db, TABLES) == [0, listed, 1, size, 1, 1]
        (kept,) = sqlite_records.user_records(db, "user000", Bounds(9))
        assert kept.id == read[newest].id
