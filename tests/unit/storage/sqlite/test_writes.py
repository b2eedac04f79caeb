"""Rows of the embedded store: what a batch and a purge leave in the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec
import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import Bounds
from chatsvc.core.record import accept
from chatsvc.storage.sqlite import conversations, messages, writes
from chatsvc.storage.sqlite.migrations import bring_up
from chatsvc.storage.sqlite.statements import MAX_ROW_ID
from testkit.records import draft, record, records

TABLES = ("messages", "audience", "conversations", "members")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    bring_up(db)
    yield db
    db.close()


def counts(db: sqlite3.Connection) -> list[int]:
    return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]


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
    before = counts(db)
    assert writes.write_records(db, [record(2)]) == []
    assert counts(db) == before


def test_no_statement_has_more_than_six_thousand_values(db: sqlite3.Connection) -> None:
    db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 6000)
    assert writes.write_records(db, records(1300)) == []
    assert counts(db) == [1300, 2600, 1, 2]


def test_a_conversation_has_the_newest_of_a_batch(db: sqlite3.Connection) -> None:
    writes.write_records(db, records(3))
    (row,) = conversations.conversations(db, "alice", MAX_ID, 5, 1 << 20)
    assert row.last_id == record(3).id


def test_a_purge_leaves_no_rows(db: sqlite3.Connection) -> None:
    crowd = tuple(f"participant-{number:03}" for number in range(30))
    writes.write_records(db, [record(1, to=crowd), *records(2, first=2)])
    (channel,) = db.execute("SELECT channel FROM messages WHERE id = ?", (record(1).id,)).fetchone()
    assert channel.startswith(",sha256:")
    assert writes.purge(db, record(2).id, 10) == 1
    assert counts(db) == [2, 4, 1, 2]
    assert writes.purge(db, MAX_ID, 10) == 2
    assert counts(db) == [0, 0, 0, 0]


def test_rows_whose_revision_is_not_their_id(db: sqlite3.Connection) -> None:
    writes.write_records(db, records(3))
    db.execute("UPDATE messages SET rev = rev + 1000000")
    db.execute("UPDATE audience SET rev = rev + 1000000")
    (newest,) = messages.user_page(db, "alice", Bounds(1))
    assert (newest.id, newest.rev) == (record(3).id, record(3).id + 1_000_000)
    assert writes.purge(db, record(3).id, 10) == 2
    assert counts(db) == [1, 2, 1, 2]
    assert writes.purge(db, MAX_ID, 10) == 1
    assert counts(db) == [0, 0, 0, 0]


def test_an_id_that_is_twice_in_a_batch_is_compared(db: sqlite3.Connection) -> None:
    twice, another = record(2), record(2, "another")
    rejections = writes.write_records(db, [record(1), twice, twice, another, record(3)])
    assert [(one.record, one.code) for one in rejections] == [(another, "digest_conflict")]
    assert counts(db) == [3, 6, 1, 2]


def test_an_audience_of_nobody_is_read_as_one(db: sqlite3.Connection) -> None:
    nobody = msgspec.structs.replace(record(1), audience=())
    writes.write_records(db, [nobody])
    found = messages.message(db, nobody.id)
    assert found is not None
    assert found.audience == ()
