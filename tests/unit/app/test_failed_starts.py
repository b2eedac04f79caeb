"""A start that fails, or is cancelled, gives back what it has acquired by then."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from chatsvc.app import backends, lifecycle
from chatsvc.app.lifecycle import Service
from chatsvc.core.errors import VersionTooNew
from chatsvc.features.messages.service import AllowAll
from chatsvc.log.local import log, opening
from chatsvc.log.local.lock import DataDirLock
from testkit.waiting import until
from tests.unit.support.whole_service import Left, names_of_tasks, settings


def check_lock_is_free(folder: Path) -> None:
    lock = DataDirLock(folder)
    lock.acquire()
    lock.release()


@pytest.mark.parametrize("error", [ZeroDivisionError(), VersionTooNew("the store is newer")])
async def test_where_the_store_fails_behind_the_opened_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails(*_: object) -> None:
        raise error

    left = Left(tmp_path)
    monkeypatch.setattr(backends, "learn_past", fails)
    with pytest.raises(type(error)):
        await Service(settings(tmp_path), AllowAll()).start()
    assert left.nothing()


async def test_cancelled_while_it_asks_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def hangs(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    left = Left(tmp_path)
    monkeypatch.setattr(backends, "learn_past", hangs)
    start = asyncio.create_task(Service(settings(tmp_path), AllowAll()).start())
    await asked.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert left.nothing()


@pytest.mark.parametrize("step", ["LogFile", "positions_at_start", "_read_tail"])
async def test_cancelled_while_a_thread_opens_the_log_it_waits_for_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Another process may have the folder as soon as the start has ended."""
    began, go_on = threading.Event(), threading.Event()
    usual = getattr(opening, step)

    def slow(*args: Any, **options: Any) -> Any:
        began.set()
        go_on.wait(20)
        return usual(*args, **options)

    left = Left(tmp_path)
    monkeypatch.setattr(opening, step, slow)
    start = asyncio.create_task(Service(settings(tmp_path), AllowAll()).start())
    await until(began.is_set)
    for _ in range(2):
        start.cancel()
        await asyncio.wait({start}, timeout=0.02)
        assert not start.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert left.nothing()


@pytest.mark.parametrize("part", ["Worker", "Maintenance", "StorePositions"])
async def test_where_the_log_cannot_be_made_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    left = Left(tmp_path)
    monkeypatch.setattr(log, part, fails)
    with pytest.raises(ZeroDivisionError):
        await Service(settings(tmp_path), AllowAll()).start()
    await until(left.nothing)


@pytest.mark.parametrize(
    "step", ["open_store", "build", "accept_on", "connection_metrics", "authentication", "url_of"]
)
async def test_at_each_step_it_leaves_nothing_and_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    left, tasks = Left(tmp_path), names_of_tasks()
    monkeypatch.setattr(lifecycle, step, fails)
    service = Service(settings(tmp_path), AllowAll())
    with pytest.raises(ZeroDivisionError):
        await service.start()
    assert not service.is_ready
    await asyncio.sleep(0)
    assert names_of_tasks() <= tasks
    assert left.nothing()
    check_lock_is_free(tmp_path)
