"""Rows of groups and rooms in the embedded store: what their records add, and what stays."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import Channel, Filter, Member, personal_channel
from chatsvc.core.page import Bounds
from chatsvc.core.state_rows import FilterRow, MemberRow
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.sqlite import listing, membership, messages, purging, records, writes
from chatsvc.storage.sqlite.projections import ProjectionWrites
from chatsvc.storage.sqlite.statements import MAX_ROW_ID
from testkit.groups import GROUP, at, group_change, group_message, joined
from testkit.records import KINDS, record
from tests.unit.support.sqlite_rows import counts

TABLES = ("messages", "changes", "inbox", "conversations", "conversation_ends", "members")


def test_a_record_to_the_members_is_one_row(db: sqlite3.Connection) -> None:
    for first in range(0, 300, 100):
        writes.write_records(db, [joined(first + 1, *(f"u{first + n}" for n in range(100)))], KINDS)
    assert counts(db, TABLES) == [0, 3, 0, 1, 1, 0]
    writes.write_records(db, [group_message(400), group_change(401)], KINDS)
    assert counts(db, TABLES) == [1, 4, 0, 1, 1, 0]
    ((body, cut),) = db.execute("SELECT body, cut FROM messages").fetchall()
    assert cut is not None
    assert b"participants" not in body
    found = messages.message(db, at(400))
    assert found is not None
    assert found.body == group_message(400).body


@pytest.mark.parametrize("count", [1, 2, 200])
def test_a_record_that_names_people_is_in_their_inboxes(db: sqlite3.Connection, count: int) -> None:
    names = [f"u{n}" for n in range(count)]
    writes.write_records(db, [group_change(1, to=names), group_message(2, to=names)], KINDS)
    assert counts(db, TABLES) == [1, 1, 2 * count, 1, 0, 0]
    assert purging.purge(db, at(2), 9) == 1
    assert counts(db, TABLES) == [1, 0, count, 1, 0, 0]
    assert purging.purge(db, MAX_ID, 9) == 1
    assert counts(db, TABLES) == [0, 0, 0, 1, 0, 0]


def test_a_replaced_latest_leaves_the_inboxes(db: sqlite3.Connection) -> None:
    for number, to in enumerate(((), ("alice", "bob"), ("bob",), (), ("carol",)), 1):
        writes.write_records(db, [group_change(number, "read", to=to)], KINDS)
        assert counts(db, TABLES)[:3] == [0, 1, len(to)]
    writes.write_records(db, [group_change(2, "read", to=("alice", "bob"))], KINDS)
    assert db.execute("SELECT user FROM inbox").fetchall() == [("carol",)]


def test_a_purge_is_bounded_by_the_names_that_it_deletes(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "PURGED_ROWS", 12)
    names = [f"u{n}" for n in range(5)]
    writes.write_records(db, [group_change(n, to=names) for n in range(1, 6)], KINDS)
    writes.write_records(db, [group_message(n) for n in range(6, 30)])
    assert [purging.purge(db, MAX_ID, 99) for _ in range(5)] == [2, 2, 7, 12, 6]


def test_a_conversation_of_a_group_stays_with_its_number(db: sqlite3.Connection) -> None:
    writes.write_records(db, [joined(1, "alice"), record(2), group_message(3)], KINDS)
    assert purging.purge(db, MAX_ID, 9) == 3
    assert counts(db, TABLES) == [0, 0, 0, 1, 0, 0]
    writes.write_records(db, [record(4), group_message(5)])
    assert [one.id for one in messages.user_page(db, "alice", Bounds(9))] == [at(4), at(5)]


@pytest.mark.parametrize("user", ["alice", "a" * 255])
def test_a_users_own_channel_has_no_inbox(db: sqlite3.Connection, user: str) -> None:
    own = personal_channel(user)
    made = [group_change(n, "read", channel=own, to=(user,), sender=user) for n in (1, 2)]
    for one in made:
        assert writes.write_records(db, [one], KINDS) == []
        assert counts(db, TABLES) == [0, 1, 0, 1, 1, 1]
        (found,) = records.user_records(db, user, Bounds(9))
        assert (found.id, found.audience, found.body) == (one.id, (user,), one.body)
    assert listing.conversations(db, user, MAX_ID, 9, 1) == []
    assert listing.members(db, user, own) == Members((user,), at(2))
    assert purging.purge(db, MAX_ID, 9) == 1
    assert counts(db, TABLES) == [0] * 6


def test_rows_of_state_are_written_in_few_statements(db: sqlite3.Connection) -> None:
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    batch = [joined(n, *(f"u{n}-{m}" for m in range(100)), channel=f",g:{n % 7}") for n in range(9)]
    writes.write_records(db, batch[1:], KINDS)
    assert len(statements) <= 16


def test_a_record_that_does_not_fit_changes_its_rows(db: sqlite3.Connection) -> None:
    """A name twice among those it is for, an id that is too large, a number that is."""
    twice = msgspec.structs.replace(joined(1, "alice"), audience=("bob", "bob"))
    unfit = msgspec.structs.replace(joined(2, "bob"), sender="\ud800")
    beyond = msgspec.structs.replace(joined(3, "carol"), id=MAX_ROW_ID + 1)
    rejected = writes.write_halving(
        db, [twice, unfit, group_message(4), beyond], KINDS, ProjectionWrites()
    )
    assert [(one.record, one.code) for one in rejected] == [
        (twice, "unfit"),
        (unfit, "unfit"),
        (beyond, "id_out_of_range"),
    ]
    assert counts(db, TABLES)[:3] == [1, 0, 0]
    for user in ("alice", "bob", "carol"):
        assert len(membership.intervals(db, user, GROUP)) == 1


def test_numbers_that_sqlite_cannot_hold_are_its_largest(db: sqlite3.Connection) -> None:
    member = Member("alice", at(1), muted_until=MAX_ID)
    block = Filter("alice", "block", "bob", at(1), MAX_ID)
    writes.write_records(db, [group_change(1, members=[member], filters=[block])], KINDS)
    assert membership.state_page(db, "", 9).rows == [
        MemberRow(GROUP, msgspec.structs.replace(member, muted_until=MAX_ROW_ID), at(1)),
        FilterRow(msgspec.structs.replace(block, until=MAX_ROW_ID), at(1)),
    ]


def test_a_page_of_rows_ends_with_the_last_table(db: sqlite3.Connection) -> None:
    one = group_change(1, members=[Member("alice", at(1))], settings=Channel(1))
    writes.write_records(db, [one], KINDS)
    assert membership.state_page(db, "", 2).after == ""
    first = membership.state_page(db, "", 1)
    assert first.after != ""
    last = membership.state_page(db, first.after, 1)
    assert (len(last.rows), last.after) == (1, "")
