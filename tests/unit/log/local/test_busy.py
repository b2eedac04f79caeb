"""Several processes that open one file at the same time."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace

import pytest

from chatsvc.log.local import busy as busy_module
from chatsvc.log.local.busy import is_busy, primary_code, retry_while_busy
from chatsvc.log.local.file import LogFile
from chatsvc.storage.sqlite.store import SqliteStore

PROCESSES = 4
ROUNDS = 25


def open_log(path: Path) -> None:
    file = LogFile(path)
    assert file.meta("epoch")
    file.close()


def open_store(path: Path) -> None:
    async def body() -> None:
        store = SqliteStore(path)
        await store.open()
        assert await store.identity()
        await store.close()

    asyncio.run(body())


def openers(folder: Path, barrier: Barrier, results: Connection) -> None:
    """In a process of its own: open each file in the same moment as the others."""
    for number in range(ROUNDS):
        for name, open_one in (("log", open_log), ("store", open_store)):
            barrier.wait(60)
            try:
                open_one(folder / f"{number}" / f"{name}.db")
            except Exception:  # noqa: BLE001 - told to the test, whatever it is
                results.send(f"{name} {number}: {traceback.format_exc()}")
    results.send(None)


def test_processes_that_open_one_new_file_at_once_all_open_it(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        (tmp_path / f"{number}").mkdir()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    pipes = [context.Pipe(duplex=False) for _ in range(PROCESSES)]
    processes = [
        context.Process(target=openers, args=(tmp_path, barrier, sending), daemon=True)
        for _, sending in pipes
    ]
    for process in processes:
        process.start()
    faults: list[str] = []
    for receiving, _ in pipes:
        while receiving.poll(60) and (fault := receiving.recv()) is not None:
            faults.append(fault)
    for process in processes:
        process.join(60)
    assert faults == []
    assert [process.exitcode for process in processes] == [0] * PROCESSES


def busy(code: int = sqlite3.SQLITE_BUSY) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = code
    return error


def scripted(*outcomes: Exception | str) -> tuple[Callable[[], str], list[int]]:
    calls: list[int] = []

    def call() -> str:
        outcome = outcomes[min(len(calls), len(outcomes) - 1)]
        calls.append(1)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return call, calls


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY, sqlite3.SQLITE_LOCKED,
             sqlite3.SQLITE_PROTOCOL]
)  # fmt: skip
def test_what_another_holds_is_tried_again(code: int) -> None:
    call, calls = scripted(busy(code), busy(code), "opened")
    assert retry_while_busy(call, 20) == "opened"
    assert len(calls) == 3


def test_other_errors_are_not() -> None:
    call, calls = scripted(busy(sqlite3.SQLITE_FULL))
    with pytest.raises(sqlite3.OperationalError):
        retry_while_busy(call, 20)
    assert len(calls) == 1
    assert not is_busy(ValueError())
    assert not is_busy(sqlite3.ProgrammingError("raised by Python's own module"))
    assert primary_code(sqlite3.ProgrammingError("raised by Python's own module")) == 0


def test_it_ends() -> None:
    call, calls = scripted(busy())
    with pytest.raises(sqlite3.OperationalError):
        retry_while_busy(call, 0.02)
    assert len(calls) > 1
    with pytest.raises(sqlite3.OperationalError):
        retry_while_busy(call, 0)


def test_no_try_begins_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_module, "time", SimpleNamespace(monotonic=lambda: 7.0))
    call, calls = scripted(busy(), "opened")
    with pytest.raises(sqlite3.OperationalError):
        retry_while_busy(call, 0)
    assert len(calls) == 1


def test_pauses_grow_up_to_a_bound_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or those that met once would meet at every try."""
    pauses: list[float] = []
    spread: set[tuple[float, float]] = set()

    def uniform(low: float, high: float) -> float:
        spread.add((low, high))
        return 0.75

    clock = SimpleNamespace(monotonic=lambda: 7.0, sleep=pauses.append)
    monkeypatch.setattr(busy_module, "time", clock)
    monkeypatch.setattr(busy_module, "random", SimpleNamespace(uniform=uniform))
    call, _ = scripted(*[busy()] * 9, "opened")
    assert retry_while_busy(call, 1) == "opened"
    growing = [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.1, 0.1, 0.1]
    assert pauses == pytest.approx([0.75 * pause for pause in growing])
    assert spread == {(0.5, 1.0)}
