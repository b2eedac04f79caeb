"""Backup and restore as docs/operations.md describes them, on a running service."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.process import running

SECONDS = 30


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


def back_up(source: Path, target: Path) -> None:
    """What ``sqlite3 SOURCE ".backup TARGET"`` does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        contextlib.closing(sqlite3.connect(source)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def test_the_store_first_and_the_log_after_it_lose_nothing(tmp_path: Path) -> None:
    live, restored = tmp_path / "live", tmp_path / "restored"
    for folder in (live, restored):
        folder.mkdir()
    with service(live) as chat:
        sent = [chat.send(f"before {number}") for number in range(20)]
        back_up(live / "data" / "store.db", restored / "data" / "store.db")
        sent += [chat.send(f"between {number}") for number in range(20)]
        back_up(live / "data" / "log.db", restored / "data" / "log.db")
        chat.send("after the backup")
    with service(restored) as chat:
        assert chat.history() == sent
        new = chat.send("after the restore")
        assert chat.history() == [*sent, new]


def test_the_store_alone_is_put_back_and_what_it_lacks_is_stored_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with service(tmp_path) as chat:
        sent = [chat.send("first")]
        back_up(data / "store.db", tmp_path / "store.db")
        sent += [chat.send(f"later {number}") for number in range(20)]
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (data / name).unlink(missing_ok=True)
    back_up(tmp_path / "store.db", data / "store.db")
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
