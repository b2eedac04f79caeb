"""How queries of the embedded store find their rows, and how few statements a batch takes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from chatsvc.core.page import Bounds
from chatsvc.storage.sqlite import client_ids as sqlite_client_ids
from chatsvc.storage.sqlite import messages as sqlite_messages
from chatsvc.storage.sqlite import writes as sqlite_writes
from chatsvc.storage.sqlite.migrations import bring_up
from testkit.records import record, records


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
    sqlite_messages.message(db, 1)
    sqlite_messages.head(db)
    db.set_trace_callback(None)
    assert len(statements) == 6
    statements += [
        "SELECT sender, minted_ahead_ms FROM messages WHERE minted_ahead_ms > 7",
        "SELECT id FROM dead_letters WHERE client_id = 'k' AND sender = 'a' AND channel = 'a'",
    ]
    for statement in statements:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert not any("TEMP B-TREE" in line for line in plan), (statement, plan)
        assert not any(line.startswith(("SCAN m", "SCAN dead")) for line in plan), (statement, plan)
    db.close()


def test_a_batch_takes_few_statements(path: Path) -> None:
    db = open_db(path)
    bring_up(db)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    sqlite_writes.write_records(db, [record(n, to=("alice", f"u{n}")) for n in range(1, 501)])
    assert len(statements) <= 10
    db.close()
