"""How queries of the embedded store find their rows, and how few statements a batch takes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from chatsvc.core.page import Bounds
from chatsvc.storage.sqlite import client_ids as sqlite_client_ids
from chatsvc.storage.sqlite import listing, membership, walks
from chatsvc.storage.sqlite import messages as sqlite_messages
from chatsvc.storage.sqlite import records as sqlite_records
from chatsvc.storage.sqlite import requests as sqlite_requests
from chatsvc.storage.sqlite import writes as sqlite_writes
from chatsvc.storage.sqlite.migrations import bring_up
from testkit.groups import GROUP, group_message, joined
from testkit.records import KINDS, record, records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def open_db(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


@pytest.mark.parametrize("newest", [True, False])
def test_pages_walk_an_index_and_sort_nothing(path: Path, newest: bool) -> None:
    db = open_db(path)
    bring_up(db)
    sqlite_writes.write_records(db, records(5))
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    bounds = Bounds(2, 1, 1 << 62, newest)
    sqlite_messages.channel_page(db, "alice,bob", bounds)
    sqlite_messages.user_page(db, "alice", bounds)
    sqlite_messages.count_user(db, "alice", bounds)
    sqlite_client_ids.find_client_id(db, ("alice", "alice,bob", "k"))
    sqlite_client_ids.client_ids_above(db, 1, 2)
    sqlite_requests.delete(db, [1])
    sqlite_requests.delete_letters(db, [1])
    sqlite_messages.message(db, 1)
    sqlite_messages.head(db)
    db.set_trace_callback(None)
    statements = [one for one in statements if one not in ("BEGIN", "COMMIT")]
    assert any("dead_letter_requests" in one for one in statements)
    statements += [
        "SELECT sender, minted_ahead_ms FROM messages WHERE minted_ahead_ms > 7",
        "SELECT sender, minted_ahead_ms FROM changes WHERE minted_ahead_ms > 7",
        "SELECT id FROM dead_letters WHERE client_id = 'k' AND sender = 'a' AND channel = 'a'",
        "SELECT sender, minted_ahead_ms FROM requests WHERE minted_ahead_ms > 7",
    ]
    for statement in statements:
        expect_walk(db, statement, sorts="inbox" in statement)
    db.close()


TABLES = (
    "messages",
    "changes",
    "inbox",
    "members",
    "conversations",
    "conversation_ends",
    "memberships",
    "channel_states",
    "filters",
    "requests",
    "dead_letter_requests",
)


def expect_walk(db: sqlite3.Connection, statement: str, *, sorts: bool = False) -> None:
    """No table is read whole, and nothing is sorted but, where ``sorts``, ids without bodies."""
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
    read_whole = [f"SCAN {name}" for name in (*TABLES, "dead_letters", *"mhceksr")]
    assert not [line for line in plan if line in read_whole], (statement, plan)
    assert sorts or not any("TEMP B-TREE" in line for line in plan), (statement, plan)
    assert not sorts or " body" not in statement


@pytest.mark.parametrize("newest", [True, False])
def test_records_are_found_by_walks(path: Path, newest: bool) -> None:
    db = open_db(path)
    bring_up(db)
    sqlite_writes.write_records(db, [*records(5), joined(6, "alice"), group_message(7)], KINDS)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    bounds = Bounds(2, 1, 1 << 62, newest)
    sqlite_records.user_records(db, "alice", bounds)
    for channel in ("alice,bob", GROUP):
        sqlite_records.channel_records(db, channel, bounds, "alice")
        sqlite_messages.channel_page(db, channel, bounds)
        listing.members(db, "alice", channel)
    membership.intervals(db, "alice", GROUP)
    membership.state_page(db, "", 9)
    sqlite_records.record(db, 1)
    walks.count_user(db, "alice", bounds, changes=True)
    listing.conversations(db, "alice", 1 << 62, 5, 1 << 20)
    db.set_trace_callback(None)
    for statement in statements:
        sorts = statement.startswith("SELECT id FROM") or "ORDER BY e.last_id" in statement
        expect_walk(db, statement, sorts=sorts)
    db.close()


def test_a_batch_takes_few_statements(path: Path) -> None:
    db = open_db(path)
    bring_up(db)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    sqlite_writes.write_records(db, [record(n, to=("alice", f"u{n}")) for n in range(1, 501)])
    assert len(statements) <= 10
    db.close()
