"""Whether another still holds the log's file: when it is asked, and what the answer does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import LogUnavailable
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.in_place import InPlace
from chatsvc.log.local.refusals import LOCKED, MISSING, LockWatch, Refusals, watch_place
from chatsvc.log.local.worker import Worker

BUSY = LogUnavailable("another holds it", code="log_busy")


class Timers:
    """The loop: what it is to call later, and when."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[..., object], tuple[object, ...]]] = []
        self.cancelled = 0

    def call_later(self, seconds: float, call: Callable[..., object], *args: object) -> object:
        self.waiting.append((seconds, call, args))
        return SimpleNamespace(cancel=self.cancel)

    def cancel(self) -> None:
        self.cancelled += 1

    def call_soon_threadsafe(self, call: Callable[..., object], *args: object) -> None:
        call(*args)

    def fire(self) -> None:
        ((_, call, args),) = self.waiting
        self.waiting.clear()
        call(*args)


class World:
    """A watch whose worker runs a job at once, in maintenance alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free: bool | Exception = False
        self.timers = Timers()
        self.refusals = Refusals()
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self.timers)
        file = SimpleNamespace(path=Path("/data/log.db"), is_free=self.is_free)
        worker = SimpleNamespace(maintain=lambda job: job())
        self.watch = LockWatch(cast(LogFile, file), cast(Worker, worker), self.refusals)

    def is_free(self) -> bool:
        if isinstance(self.free, Exception):
            raise self.free
        return self.free


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_it_is_asked_every_quarter_of_a_second_until_it_is_free(world: World) -> None:
    with capture_logs() as lines:
        world.watch.found_locked(BUSY)
        world.watch.found_locked(BUSY)
        for _ in range(3):
            assert [seconds for seconds, *_ in world.timers.waiting] == [0.25]
            assert world.refusals.first is BUSY
            world.timers.fire()
        world.free = True
        world.timers.fire()
    assert (world.refusals.first, world.timers.waiting) == (None, [])
    path = "/data/log.db"
    assert [(line["event"], line["log_level"], line["path"]) for line in lines] == [
        ("log_locked", "error", path),
        ("log_lock_released", "info", path),
    ]


def test_a_lock_of_which_nothing_can_be_told_is_asked_for_again(world: World) -> None:
    world.watch.found_locked(BUSY)
    world.free = LogUnavailable("the log cannot write")
    with capture_logs() as lines:
        world.timers.fire()
    assert [line["event"] for line in lines] == ["log_lock_unknown"]
    assert LOCKED in world.refusals
    assert len(world.timers.waiting) == 1


def test_nothing_is_asked_once_it_has_stopped(world: World) -> None:
    world.watch.stop()
    assert world.timers.cancelled == 0
    world.watch.found_locked(BUSY)
    assert world.timers.waiting == []


def test_what_was_to_be_asked_is_cancelled_and_no_answer_begins_it_again(world: World) -> None:
    world.watch.found_locked(BUSY)
    world.watch.stop()
    assert world.timers.cancelled == 1
    world.timers.fire()  # as one that was on its way already
    assert world.timers.waiting == []


def test_it_is_asked_in_the_logs_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    jobs: list[Any] = []
    world.watch._worker = cast(Worker, SimpleNamespace(maintain=jobs.append))
    world.watch.found_locked(BUSY)
    world.timers.fire()
    assert len(jobs) == 1
    assert world.timers.waiting == []


def test_a_file_that_is_missing_refuses_with_when_to_come_back_and_is_said_once() -> None:
    found: list[str | None] = ["it was removed", "it was removed", None, None]
    place = cast(InPlace, SimpleNamespace(find_error=lambda: found.pop(0)))
    refusals = Refusals()
    with capture_logs() as lines:
        for _ in range(2):
            watch_place(place, refusals)
        error = refusals.first
        assert error is not None
        for _ in range(2):
            watch_place(place, refusals)
    assert error.detail == "the log's file was removed or replaced under the running service"
    assert (error.code, error.retry_after) == ("log_file_missing", 5.0)
    assert (refusals.first, MISSING in refusals) == (None, False)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("log_file_missing", "critical"),
        ("log_file_back", "warning"),
    ]
    assert lines[0]["error"] == "it was removed"
    assert "put the file back where it was" in lines[0]["remedy"]
