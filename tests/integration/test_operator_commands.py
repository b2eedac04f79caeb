"""The commands of an operator beside a service: migrate, and dead letters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from chatsvc.core.ids import format_id
from chatsvc.core.record import pack
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite import from_version_2
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.old_stores import old_store, put_messages
from testkit.process import command
from testkit.records import record
from testkit.talking import SECRET, token, url_of
from tests.integration.support.commands import one_line, request, serving


def test_migrating_wants_the_service_stopped_and_checking_does_not(tmp_path: Path) -> None:
    """As docs/versioning.md says."""
    with serving(tmp_path) as process:
        url_of(process)
        checked = command(tmp_path, "migrate", "--check")
        assert (checked.returncode, checked.stderr) == (0, "")
        assert f"in use by process {process.pid};" in one_line(command(tmp_path, "migrate"))
        assert process.stop() == 0
    assert command(tmp_path, "migrate").returncode == 0


def test_a_partly_upgraded_store_is_upgraded_before_the_service_starts(tmp_path: Path) -> None:
    """As docs/versioning.md says: as if ``migrate`` had been killed after its first step."""
    path = tmp_path / "data" / "store.db"
    path.parent.mkdir(mode=0o700)
    with old_store(path, 2) as db:
        put_messages(db, [record(1)])
        from_version_2.begin(db)
        db.execute("UPDATE meta SET value = '3' WHERE name = 'version'")
    refused = one_line(command(tmp_path, "serve", JWT_SECRET=SECRET, PORT="0", LOG_LEVEL="error"))
    assert refused == (
        "chatsvc: the store is partly upgraded to version 3: it must be upgraded to its end, "
        "with `chatsvc migrate`, before it is used\n"
    )
    assert command(tmp_path, "migrate", "--check").returncode == 1
    assert command(tmp_path, "migrate").returncode == 0
    with serving(tmp_path) as process:
        url_of(process)
        history = f"{url_of(process)}/api/messages/get?participants=alice,bob"
        assert request(history, token("alice"))["messages"] == [json.loads(record(1).body)]


def test_dead_letters_beside_the_running_service(tmp_path: Path) -> None:
    """What was put aside is listed, replayed and then in history, without a restart."""
    refused, stored = record(1, "refused long ago"), record(2, "stored long ago")
    path = tmp_path / "data" / "store.db"
    asyncio.run(with_store(path, lambda store: store.write([stored])))
    with serving(tmp_path, DEV_LOGIN="loopback") as process:
        url = url_of(process)
        token = str(request(f"{url}/api/dev/token", "", {"user": "alice"})["token"])
        message = {"participants": ["alice", "bob"], "content": "new"}
        sent = request(f"{url}/api/messages", token, message)
        letter = DeadLetter(refused.id, "test", "by a test", 0, pack(refused))
        asyncio.run(with_store(path, lambda store: store.dead_letters.put([letter])))
        listed = command(tmp_path, "dead-letters", "list")
        assert listed.returncode == 0, listed
        assert listed.stdout.startswith(f"{format_id(refused.id)}  ")
        history = f"{url}/api/messages/get?participants=alice,bob"
        assert request(history, token)["messages"] == [json.loads(stored.body), sent]
        replayed = command(tmp_path, "dead-letters", "replay", "--all")
        assert replayed.returncode == 0, replayed
        assert replayed.stdout == f"{format_id(refused.id)}  stored\n"
        assert command(tmp_path, "dead-letters", "list").stdout == ""
        everything = [json.loads(refused.body), json.loads(stored.body), sent]
        assert request(history, token)["messages"] == everything


async def with_store(path: Path, work: Callable[[SqliteStore], Awaitable[object]]) -> None:
    """Do something with the file, which the service may have open too."""
    store = SqliteStore(path)
    await store.open()
    try:
        await work(store)
    finally:
        await store.close()
