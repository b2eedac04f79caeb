"""``chatsvc dead-letters`` over the embedded store, as the service leaves it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from chatsvc.cli import main
from chatsvc.core.ids import format_id
from chatsvc.core.record import Draft, Record, accept, pack
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite.store import SqliteStore

Captured = pytest.CaptureFixture[str]
T = TypeVar("T")

FIRST, SECOND, THIRD = (0x0193_ABCD_EF01_0000 + step for step in (0, 64, 128))


def record(record_id: int, content: str = "hello") -> Record:
    return accept(
        Draft(
            kind="message",
            channel="alice,bob",
            audience=("alice", "bob"),
            sender="alice",
            origin="device",
            client_id=None,
            digest=content.encode(),
            rest=json.dumps(
                {
                    "channel": "alice,bob",
                    "sender": "alice",
                    "content": content,
                    "participants": ["alice", "bob"],
                }
            ).encode(),
        ),
        record_id,
    )


def letter(record_id: int, data: bytes | None = None) -> DeadLetter:
    packed = pack(record(record_id)) if data is None else data
    return DeadLetter(
        record_id, "too_large", "the document\nis too large", 1_800_000_000_123, packed
    )


def in_store(folder: Path, work: Callable[[SqliteStore], Awaitable[T]]) -> T:
    """Open the store that the commands will open, and do something with it."""

    async def run() -> T:
        store = SqliteStore(folder / "data" / "store.db")
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def put(folder: Path, *letters: DeadLetter) -> None:
    in_store(folder, lambda store: store.dead_letters.put(letters))


def left(folder: Path) -> list[int]:
    found = in_store(folder, lambda store: store.dead_letters.list())
    return [one.id for one in found]


def test_one_a_line_oldest_first(folder: Path, capsys: Captured) -> None:
    put(folder, letter(SECOND), letter(FIRST))
    assert main(["dead-letters", "list"]) == 0
    rest = "  2027-01-15T08:00:00.123Z  too_large  the document is too large"
    assert capsys.readouterr().out.splitlines() == [
        format_id(FIRST) + rest,
        format_id(SECOND) + rest,
    ]


def test_more_than_a_page_of_them(folder: Path, capsys: Captured) -> None:
    ids = [FIRST + 64 * step for step in range(250)]
    put(folder, *(letter(one) for one in ids))
    assert main(["dead-letters", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [format_id(one) for one in ids]


def test_without_a_store_it_says_so_and_makes_none(folder: Path, capsys: Captured) -> None:
    for command in (["list"], ["show", format_id(FIRST)], ["replay", "--all"]):
        assert main(["dead-letters", *command]) == 2
        out, err = capsys.readouterr()
        assert (out, err) == ("", f"chatsvc: DATA_DIR: there is no store in {folder / 'data'}\n")
    assert not (folder / "data").exists()


def test_all_that_is_known_of_one(folder: Path, capsys: Captured) -> None:
    put(folder, letter(FIRST))
    assert main(["dead-letters", "show", format_id(FIRST)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["id"] == format_id(FIRST)
    assert (shown["code"], shown["reason"]) == ("too_large", "the document\nis too large")
    assert shown["audience"] == ["alice", "bob"]
    assert shown["body"]["content"] == "hello"
    assert shown["body"]["id"] == format_id(FIRST)


def test_one_whose_bytes_cannot_be_read_is_shown_as_bytes(folder: Path, capsys: Captured) -> None:
    put(folder, letter(FIRST, b"\xc1\x00"))
    assert main(["dead-letters", "show", format_id(FIRST)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["data"] == "c100"
    assert "cannot be read" in shown["unreadable"]


@pytest.mark.parametrize("body", [b'{"content": "hel', b'"\xff"', b"[" * 100_000])
def test_one_whose_body_is_no_json_is_shown_with_its_bytes(
    body: bytes, folder: Path, capsys: Captured
) -> None:
    put(folder, letter(FIRST, pack(msgspec.structs.replace(record(FIRST), body=body))))
    assert main(["dead-letters", "show", format_id(FIRST)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["data"], shown["sender"]) == (body.hex(), "alice")
    assert shown["unreadable"].startswith("the body is not JSON: ")
    assert "body" not in shown


def test_replayed_it_is_stored_and_gone(folder: Path, capsys: Captured) -> None:
    put(folder, letter(FIRST), letter(SECOND))
    assert main(["dead-letters", "replay", format_id(SECOND)]) == 0
    assert capsys.readouterr().out == f"{format_id(SECOND)}  stored\n"
    assert left(folder) == [FIRST]
    entry = in_store(folder, lambda store: store.get(SECOND))
    assert entry is not None
    assert json.loads(entry.body)["content"] == "hello"


def test_all_are_replayed_but_those_that_are_still_refused(folder: Path, capsys: Captured) -> None:
    in_store(folder, lambda store: store.write([record(SECOND, "another")]))
    put(folder, letter(FIRST), letter(SECOND), letter(THIRD, b"\xc1"))
    assert main(["dead-letters", "replay", "--all"]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{format_id(FIRST)}  stored\n"
    assert f"{format_id(SECOND)} is kept: " in captured.err
    assert f"{format_id(THIRD)} is kept: " in captured.err
    assert left(folder) == [SECOND, THIRD]


@pytest.mark.parametrize("argv", [["replay"], ["replay", "--all", format_id(FIRST)]])
def test_which_ones_to_replay_must_be_said(argv: list[str], folder: Path, capsys: Captured) -> None:
    put(folder, letter(FIRST))
    assert main(["dead-letters", *argv]) == 2
    assert "--all" in capsys.readouterr().err
    assert left(folder) == [FIRST]


def test_dropped_they_are_gone(folder: Path, capsys: Captured) -> None:
    put(folder, letter(FIRST), letter(SECOND), letter(THIRD))
    assert main(["dead-letters", "drop", format_id(FIRST), format_id(THIRD)]) == 0
    assert capsys.readouterr().out == "2 dropped\n"
    assert left(folder) == [SECOND]
    assert in_store(folder, lambda store: store.get(FIRST)) is None


@pytest.mark.parametrize("action", ["show", "replay", "drop"])
def test_one_that_is_not_there(action: str, folder: Path, capsys: Captured) -> None:
    put(folder, letter(FIRST))
    assert main(["dead-letters", action, format_id(SECOND)]) == 1
    assert f"no dead letter {format_id(SECOND)}" in capsys.readouterr().err
    assert left(folder) == [FIRST]


@pytest.mark.parametrize("text", ["7", "x" * 16, format_id(FIRST).upper(), ""])
@pytest.mark.parametrize("action", ["show", "replay", "drop"])
def test_what_is_no_id(action: str, text: str, folder: Path, capsys: Captured) -> None:
    assert main(["dead-letters", action, text]) == 2
    assert "16 lower-case hex digits" in capsys.readouterr().err


def test_a_database_that_is_away_is_one_line(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "mongodb://chat:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=50"
    monkeypatch.setenv("MONGO_URI", uri)
    assert main(["dead-letters", "list"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("chatsvc: ")
    assert err.count("\n") == 1
    assert "hunter2" not in err
