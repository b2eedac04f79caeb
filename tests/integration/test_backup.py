"""Backup and restore as docs/operations.md describes them, on a running service."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testkit.process import command, running
from testkit.talking import SETTINGS, talk, url_of

SECONDS = 30
SQLITE_ENDS = ("", "-wal", "-shm")


class Chat:
    """Alice, at a running service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = ""
        self.token = str(self.call("/api/dev/token", {"user": "alice"})["token"])

    def call(self, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def send(self, content: str) -> dict[str, Any]:
        return self.call("/api/messages", {"participants": ["alice", "bob"], "content": content})

    def history(self) -> list[dict[str, Any]]:
        page = self.call("/api/messages/get?participants=alice,bob&limit=1000")
        assert page["complete"]
        messages: list[dict[str, Any]] = page["messages"]
        return messages


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Chat]:
    with running(folder, "dev", "--port", "0") as process:
        process.wait_for("Ctrl-C")
        yield Chat(process.wait_for(r"listens on (http://\S+)")[1])
        assert process.stop() == 0


def taken(folder: Path, target: Path, **variables: str) -> None:
    """Back up the service of ``folder``."""
    done = command(folder, "backup", str(target), **variables)
    assert done.returncode == 0, done
    assert done.stdout.startswith(f"{target}: "), done


def put_back(source: Path, folder: Path, *flags: str) -> str:
    """Restore for a service of ``folder``; what the command said."""
    folder.mkdir(exist_ok=True)
    done = command(folder, "restore", str(source), *flags)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


class Sender(threading.Thread):
    """Sends messages at a steady rate until it is told to stop; ``acked`` are their ids."""

    def __init__(self, chat: Chat, per_second: float) -> None:
        super().__init__(daemon=True)
        self.chat = chat
        self.pause = 1 / per_second
        self.acked: list[str] = []
        self.error: Exception | None = None
        self.ending = threading.Event()
        self.start()

    def run(self) -> None:
        due = time.monotonic()
        try:
            while not self.ending.is_set():
                self.acked.append(self.chat.send(f"message {len(self.acked)}")["id"])
                due += self.pause
                self.ending.wait(max(0.0, due - time.monotonic()))
        except OSError as exc:
            self.error = exc

    def reach(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.acked) < count:
            assert self.error is None, self.error
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self) -> list[str]:
        self.ending.set()
        self.join(60)
        assert self.error is None, self.error
        return self.acked


def test_under_80_writes_a_second_it_ends_and_holds_all_that_was_acknowledged_before(
    tmp_path: Path,
) -> None:
    live, copy, restored = (tmp_path / name for name in ("live", "copy", "restored"))
    live.mkdir()
    with service(live) as chat:
        sender = Sender(chat, 80)
        sender.reach(80)
        for number in (1, 2, 3):
            before = len(sender.acked)
            taken(live, copy.with_name(f"copy{number}"))
        assert len(sender.acked) > before, "it was written to meanwhile"
        acked = sender.end()
    put_back(copy.with_name("copy3"), restored)
    with service(restored) as chat:
        found = [message["id"] for message in chat.history()]
        assert found == acked[: len(found)], "without a hole"
        assert len(found) >= before
        new = chat.send("after the restore")
        assert new["id"] > acked[-1]
        assert [message["id"] for message in chat.history()] == [*found, new["id"]]


def test_what_is_in_the_log_alone_is_stored_after_a_restore(tmp_path: Path) -> None:
    """The store's copy is older than the log's: here by as much as can be."""
    live, copy, restored = (tmp_path / name for name in ("live", "copy", "restored"))
    live.mkdir()
    with service(live) as chat:
        sent = [chat.send(f"message {number}") for number in range(20)]
        taken(live, copy)
    with contextlib.closing(sqlite3.connect(copy / "store.db")) as store:
        for table in ("messages", "inbox", "members", "conversation_ends", "conversations"):
            store.execute(f"DELETE FROM {table}")
        store.commit()
    trust_anew(copy)
    put_back(copy, restored)
    with service(restored) as chat:
        assert chat.history() == sent
    stored = sqlite3.connect(restored / "data" / "store.db")
    with contextlib.closing(stored):
        assert stored.execute("SELECT count(*) FROM messages").fetchone() == (len(sent),)


def trust_anew(copy: Path) -> None:
    """Write the checksums of a changed backup into its manifest."""
    manifest = json.loads((copy / "manifest.json").read_bytes())
    for name in manifest["files"]:
        data = (copy / name).read_bytes()
        manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (copy / "manifest.json").write_text(json.dumps(manifest))


def test_of_a_stopped_or_killed_service_it_changes_nothing_there(tmp_path: Path) -> None:
    with running(tmp_path, "dev", "--port", "0") as process:
        chat = Chat(process.wait_for(r"listens on (http://\S+)")[1])
        sent = [chat.send("before the crash")]
        process.kill()
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").glob("*.db*")}
    assert {"log.db-wal", "store.db-wal"} <= set(before)
    copy = tmp_path / "copy"
    taken(tmp_path, copy)
    after = {path.name: path.read_bytes() for path in (tmp_path / "data").glob("*.db*")}
    for name in ("log.db", "log.db-wal", "store.db", "store.db-wal"):
        assert after[name] == before[name], name
    assert sorted(path.name for path in copy.iterdir()) == ["log.db", "manifest.json", "store.db"]
    assert copy.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in copy.iterdir()} == {0o600}
    (tmp_path / "other").mkdir()
    put_back(copy, tmp_path / "other")
    with service(tmp_path / "other") as chat:
        assert chat.history() == sent


async def test_clients_that_saw_what_was_sent_after_the_backup_are_told_so(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "serve", **SETTINGS) as process:
        async with talk(url_of(process), "alice") as alice:
            epoch = alice.hello["epoch"]
            kept = (await alice.say("bob", content="kept"))["id"]
            await asyncio.to_thread(taken, tmp_path, tmp_path / "copy")
            lost = (await alice.say("bob", content="lost"))["id"]
        assert await asyncio.to_thread(process.stop) == 0
    put_back(tmp_path / "copy", tmp_path, "--force")
    with running(tmp_path, "serve", **SETTINGS) as process:
        url = url_of(process)
        async with talk(url, "bob", since=f"{epoch}.{lost}") as bob:
            assert bob.hello["epoch"] != epoch
            assert bob.hello["recovered"] is False
            gap = await bob.next()
            assert gap["type"] == "gap"
            assert gap["from"] < lost, "what it holds above the backup is looked at again"
            async with talk(url, "alice") as alice:
                new = await alice.say("bob", content="after the restore")
            assert new["id"] > lost > kept
            assert (await bob.next("cursor", "caught_up"))["id"] == new["id"]
        assert await asyncio.to_thread(process.stop) == 0


def test_a_restore_moves_old_files_aside_only_where_it_is_told_to(tmp_path: Path) -> None:
    with service(tmp_path) as chat:
        chat.send("kept")
        taken(tmp_path, tmp_path / "copy")
        refused = command(tmp_path, "restore", str(tmp_path / "copy"), "--force")
        assert refused.returncode == 2
        assert "is in use by process" in refused.stderr
        chat.send("newer than the backup")
    refused = command(tmp_path, "restore", str(tmp_path / "copy"))
    assert refused.returncode == 2
    assert "must not contain log.db" in refused.stderr
    # What a crash leaves beside a database must not be taken for the new one's.
    for name in ("log.db-wal", "store.db-shm"):
        (tmp_path / "data" / name).touch(0o600)
    said = put_back(tmp_path / "copy", tmp_path, "--force")
    old_files = Path(said.splitlines()[1].removeprefix("the previous files are in "))
    # Reading the old log for its highest id may add what SQLite keeps beside it.
    moved = {path.name for path in old_files.iterdir()}
    assert {"log.db", "store.db", "log.db-wal", "store.db-shm"} <= moved
    assert moved <= {f"{name}{end}" for name in ("log.db", "store.db") for end in SQLITE_ENDS}
    assert not [*(tmp_path / "data").glob("*-wal"), *(tmp_path / "data").glob("*-shm")]
    with service(tmp_path) as chat:
        assert [message["content"] for message in chat.history()] == ["kept"]


def test_the_store_alone_is_put_back_and_what_it_lacks_is_stored_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with service(tmp_path) as chat:
        sent = [chat.send("first")]
        taken(tmp_path, tmp_path / "copy")
        sent += [chat.send(f"later {number}") for number in range(20)]
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy" / "store.db", data / "store.db")
    with service(tmp_path) as chat:
        assert chat.history() == sent
    stored = sqlite3.connect(data / "store.db")
    with contextlib.closing(stored):
        assert stored.execute("SELECT count(*) FROM messages").fetchone() == (len(sent),)


def test_without_the_log_a_new_one_begins_above_all_that_is_stored(tmp_path: Path) -> None:
    with service(tmp_path) as chat:
        sent = [chat.send(f"message {number}") for number in range(5)]
    for path in (tmp_path / "data").glob("log.db*"):
        path.unlink()
    with service(tmp_path) as chat:
        new = chat.send("after the loss")
        assert new["id"] > sent[-1]["id"]
        assert chat.history() == [*sent, new]
