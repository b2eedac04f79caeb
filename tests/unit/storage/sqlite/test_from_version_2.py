"""Stores of version 2 upgraded: nothing lost, nothing doubled, wherever it is interrupted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatsvc.core.errors import ConfigurationError
from chatsvc.core.ids import MAX_ID, id_ms
from chatsvc.core.page import NO_BYTE_BOUND, Bounds
from chatsvc.core.record import Record, pack
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite import client_ids, from_version_2, listing, messages, migrations
from chatsvc.storage.sqlite.migrations import bring_up, check_version, found_version
from chatsvc.storage.sqlite.statements import transaction
from chatsvc.storage.sqlite.tables import VERSION, has_table
from chatsvc.storage.sqlite.watermark import meta
from testkit.client_ids import uuid7_at
from testkit.old_stores import IDENTITY, old_store, put_letters, put_messages
from testkit.records import record, with_body

LARGE_STORE = 20_001
"""Messages of the generated store: one more than is moved at an open."""
SIZES = (2, 3, 4, 5, 16, 250)


def people(size: int) -> tuple[str, ...]:
    return ("alice", *(f"user{n:03}" for n in range(1, size)))


def odd(one: Record, number: int) -> Record:
    """The same message in a body that this service would not write."""
    body = json.loads(one.body)
    bodies = [
        json.dumps(body, indent=1),
        json.dumps({"participants": body["participants"], **body}),
        json.dumps(body | {"metadata": {"a": 1, "participants": body["participants"]}}),
        json.dumps({"metadata": {"a": 1, "participants": ["x"]}} | body, separators=(",", ":")),
    ]
    return with_body(one, bodies[number % len(bodies)].encode())


def everything() -> list[Record]:
    ahead = uuid7_at(id_ms(record(31).id) + 60_000)
    made = [
        record(n, to=people(SIZES[n % len(SIZES)]), client_id=f"k{n}" if n % 4 == 0 else None)
        for n in range(1, 31)
    ]
    made.append(record(31, client_id=ahead))
    made += [odd(record(n, to=people(SIZES[n % len(SIZES)])), n) for n in range(32, 40)]
    made += [record(n, to=("älice", "zoë"), sender="zoë") for n in range(40, 43)]
    return made


def expect_all(db: sqlite3.Connection, written: list[Record], *users: str) -> None:
    """All that was written is found, as it was written, by these users or by all."""
    for user in users or {user for one in written for user in one.audience}:
        own = [one for one in written if user in one.audience]
        bounds = Bounds(len(written) + 1, max_bytes=NO_BYTE_BOUND)
        found = messages.user_page(db, user, bounds)
        assert [entry.body for entry in found] == [one.body for one in own]
        assert [(entry.id, entry.rev, entry.channel, entry.audience) for entry in found] == [
            (one.id, one.id, one.channel, one.audience) for one in own
        ]
        assert [(entry.sender, entry.origin) for entry in found] == [
            (one.sender, one.origin) for one in own
        ]
        newest = {one.channel: one for one in own}
        listed = listing.conversations(db, user, MAX_ID, 1000, NO_BYTE_BOUND)
        assert [(one.channel, one.last_id, one.participants) for one in listed] == [
            (one.channel, one.id, one.audience)
            for one in sorted(newest.values(), key=lambda one: -one.id)
        ]
    for one in written:
        if one.client_id is not None:
            key = one.sender, one.channel, one.client_id
            assert client_ids.find_client_id(db, key) == (one.id, one.digest)
    assert db.execute("SELECT count(*) FROM messages").fetchone() == (len(written),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.mark.parametrize("upgrades", [True, False])
@pytest.mark.parametrize("at_once", [1, 7, 5000])
def test_everything_is_found_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, upgrades: bool
) -> None:
    monkeypatch.setattr(from_version_2, "MOVED_AT_ONCE", at_once)
    written = everything()
    letter = DeadLetter(7, "code", "reason", 1, pack(record(7, client_id="letter")))
    with old_store(path, 2) as db:
        put_messages(db, written)
        put_letters(db, [letter])
        bring_up(db, upgrades=upgrades)
        expect_all(db, written)
        assert (found_version(db), meta(db, "identity")) == (VERSION, IDENTITY)
        assert not has_table(db, "audience")
        past = client_ids.past_client_ids(db, 9, 0)
        assert past.ahead == [("alice", id_ms(record(31).id) + 60_000)]
        found = client_ids.find_client_id(db, ("alice", "alice,bob", "letter"))
        assert found == (7, record(7).digest)


class Killed(Exception):
    pass


def killing(after: int) -> Callable[[sqlite3.Connection], object]:
    """A transaction that is the last one before the process ends, when so many were made."""
    left = after

    @contextmanager
    def counted(db: sqlite3.Connection) -> Iterator[None]:
        nonlocal left
        with transaction(db):
            yield
        left -= 1
        if left == 0:
            raise Killed

    return counted


def test_an_upgrade_goes_on_after_each_transaction(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_version_2, "MOVED_AT_ONCE", 10)
    written = everything()
    with old_store(path, 2) as db:
        put_messages(db, written)
    kills = 0
    while True:
        db = sqlite3.connect(path, isolation_level=None)
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "transaction", killing(1))
            try:
                bring_up(db, upgrades=True)
            except Killed:
                kills += 1
            else:
                break
        if found_version(db) != VERSION:
            assert found_version(db) == 2
            for refused in (bring_up, check_version):
                with pytest.raises(ConfigurationError, match="partly upgraded to version 3: it mu"):
                    refused(db)
        db.close()
    assert kills == 2 + -(-len(written) // 10)  # the first, each ten, and the last
    expect_all(db, written)
    db.close()


def test_a_transaction_that_fails_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_version_2, "MOVED_AT_ONCE", 10)
    written = everything()
    with old_store(path, 2) as db:
        put_messages(db, written)
        db.execute(
            f"CREATE TRIGGER fail BEFORE DELETE ON messages WHEN old.id = {written[25].id}"
            " BEGIN SELECT RAISE(ABORT, 'a page is bad'); END"
        )
        with pytest.raises(sqlite3.IntegrityError):
            bring_up(db, upgrades=True)
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (20,)
        db.execute("DROP TRIGGER fail")
        bring_up(db, upgrades=True)
        expect_all(db, written)


def test_a_transaction_ends_with_its_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_version_2, "_MOVED_BYTES", 2500)
    with old_store(path, 2) as db:
        put_messages(db, [record(n, "x" * 1000) for n in range(1, 8)])
        from_version_2.begin(db)
        assert [from_version_2.move_some(db) for _ in range(4)] == [3, 3, 1, 0]
        assert not from_version_2.is_unfinished(db)


def test_a_later_message_to_fewer_is_one_to_all_of_the_conversation(path: Path) -> None:
    first = record(1, to=people(3))
    with old_store(path, 2) as db:
        put_messages(db, [first])
        db.execute(
            "INSERT INTO messages SELECT ?, rev, channel, sender, origin, client_id, digest,"
            " 'alice', body, NULL FROM messages",
            (record(2).id,),
        )
        bring_up(db)
        assert [len(one.audience) for one in messages.user_page(db, "user002", Bounds(9))] == [3, 3]


def test_a_generated_store_of_many_messages(path: Path) -> None:
    written = [
        record(n, "Hello", to=people(5) if n % 10 == 0 else ("alice", f"user{n % 300:03}"))
        for n in range(1, LARGE_STORE + 1)
    ]
    with old_store(path, 2) as db:
        put_messages(db, written)
        with pytest.raises(ConfigurationError, match=r"version 2 and more than 20000 messages"):
            bring_up(db)
        bring_up(db, upgrades=True)
        expect_all(db, written, "alice", "user004", "user010", "user299")
