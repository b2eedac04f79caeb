"""``chatsvc projections`` over the embedded store, as the service leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from chatsvc.app import backends
from chatsvc.app import features as registered
from chatsvc.cli import main
from chatsvc.core.ids import STEP, format_id
from chatsvc.core.projection import NO_PROJECTIONS, Projections
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.records import KINDS
from tests.contract.support.projected import BOTH, SENDERS, edit, one_version, rows_of

Captured = pytest.CaptureFixture[str]
T = TypeVar("T")

SECOND = 1000 << 16
LAST = edit(1 + SECOND // STEP).id


@pytest.fixture(autouse=True)
def _declared(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, BOTH)


def declare(monkeypatch: pytest.MonkeyPatch, projections: Projections) -> None:
    monkeypatch.setattr(registered, "known_projections", lambda: projections)


def in_store(folder: Path, work: Callable[[MessageStore], Awaitable[T]]) -> T:
    """Open the store that the commands will open, and do something with it."""

    async def run() -> T:
        store = SqliteStore(folder / "data" / "store.db", kinds=KINDS, projections=BOTH)
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


@pytest.fixture
def filled(folder: Path) -> Path:
    """A store with two records, a second apart, that are folded."""

    async def fill(store: MessageStore) -> None:
        for number in (1, 1 + SECOND // STEP):
            assert await store.write([edit(number, ["put", ["a", number], {}])]) == []
        assert await store.set_watermark(None, Mark(LAST, 1, "epoch", None, "", 0))

    in_store(folder, fill)
    return folder


def listed(capsys: Captured) -> list[str]:
    capsys.readouterr()
    assert main(["projections"]) == 0
    return capsys.readouterr().out.splitlines()


def test_one_a_line_with_where_it_is(filled: Path, capsys: Captured) -> None:
    live = f"version 1  live  {format_id(LAST)}  0 s behind {format_id(LAST)}"
    assert listed(capsys) == [f"senders  {live}", f"things  {live}"]


def test_one_that_is_rebuilt_is_behind_the_oldest_record(filled: Path, capsys: Captured) -> None:
    assert main(["projections", "rebuild", "things"]) == 0
    assert capsys.readouterr().out.startswith("things  begun anew")
    behind = f"1 s behind {format_id(LAST)}"
    assert listed(capsys)[1] == f"things  version 1  building  {format_id(0)}  {behind}"
    assert listed(capsys)[0].startswith("senders  version 1  live  ")
    assert in_store(filled, rows_of) == []


def test_what_this_program_declares_otherwise_is_not_begun_by_looking(
    filled: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may stand beside a service of another version, whose rows they are."""
    declare(monkeypatch, Projections([one_version(2), SENDERS]))
    assert listed(capsys)[1] == "things  version 2  not begun"
    assert main(["projections", "rebuild", "things"]) == 2
    assert capsys.readouterr().err == (
        "chatsvc: NAME: the store has no rows of 'things' as this program declares it; "
        "a service of this version builds them when it starts\n"
    )
    assert main(["projections", "rebuild", "senders"]) == 0
    assert len(in_store(filled, rows_of)) == 2


@pytest.mark.parametrize("argv", [["list"], ["drop", format_id(5)]])
def test_dead_letters_begin_no_rows_anew(
    argv: list[str], filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Projections([one_version(2), SENDERS])
    monkeypatch.setattr(backends, "known_projections", lambda: newer)
    main(["dead-letters", *argv])
    assert len(in_store(filled, rows_of)) == 2


@pytest.mark.parametrize(("known", "names"), [(BOTH, "senders, things"), (NO_PROJECTIONS, "none")])
def test_one_that_is_not_there(
    known: Projections,
    names: str,
    filled: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declare(monkeypatch, known)
    assert main(["projections", "rebuild", "thing"]) == 2
    assert capsys.readouterr().err == (
        f"chatsvc: NAME: there is no projection 'thing'; there are: {names}\n"
    )
    assert len(in_store(filled, rows_of)) == 2


def test_without_a_projection_nothing_is_listed(filled: Path, capsys: Captured) -> None:
    with pytest.MonkeyPatch.context() as patch:
        declare(patch, NO_PROJECTIONS)
        assert listed(capsys) == []


@pytest.mark.parametrize("argv", [[], ["rebuild", "things"]])
def test_without_a_store_it_says_so_and_makes_none(
    argv: list[str], folder: Path, capsys: Captured
) -> None:
    assert main(["projections", *argv]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"chatsvc: DATA_DIR: there is no store in {folder / 'data'}\n")
    assert not (folder / "data").exists()


@pytest.mark.parametrize("before", [True, False])
def test_options_stand_before_the_action_or_behind(
    before: bool, filled: Path, capsys: Captured
) -> None:
    option = ["--data-dir", "elsewhere"]
    argv = [*option, "rebuild"] if before else ["rebuild", *option]
    assert main(["projections", *argv, "things"]) == 2
    assert f"there is no store in {filled / 'elsewhere'}" in capsys.readouterr().err


def test_a_database_that_is_away_is_one_line(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "mongodb://chat:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=50"
    monkeypatch.setenv("MONGO_URI", uri)
    for argv in ([], ["rebuild", "things"]):
        assert main(["projections", *argv]) == 1
        err = capsys.readouterr().err
        assert err.startswith("chatsvc: ")
        assert err.count("\n") == 1
        assert "hunter2" not in err
