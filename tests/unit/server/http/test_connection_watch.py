"""What the watch does with connections that are of no use, or not read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.server.http import connection_watch
from chatsvc.server.http.connection import BoundedConnection
from chatsvc.server.http.connection_watch import ConnectionWatch
from chatsvc.server.http.responses import ReadyResponse
from testkit.waiting import until
from tests.unit.support.http_service import HttpService, running


class Transport:
    def __init__(self, unsent: int) -> None:
        self.unsent = unsent
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, _name: str) -> None:
        return None

    def abort(self) -> None:
        self.aborted = True
        self.unsent = 0


class Connection(BoundedConnection):
    """Only what the watch looks at."""

    def __init__(self, *, answers: int = 1, idle_since: float | None = None) -> None:
        self.answers = answers
        self.progress = (0, 0)
        self.moved_at = 0.0
        self.head_since = 0.0
        self.body_since = 0.0
        self.idle_since = idle_since
        self.expired = False

    @property
    def waiting(self) -> bool:
        return self.idle_since is not None

    @property
    def waiting_since(self) -> float:
        assert self.idle_since is not None
        return self.idle_since

    def expire_head(self) -> None:
        self.expired = True


class World:
    def __init__(self, *sizes: int, stall_seconds: float = 10.0) -> None:
        self.connections = [Connection() for _ in sizes]
        self.transports = [Transport(size) for size in sizes]
        pairs: Any = dict(zip(self.connections, self.transports, strict=True))
        self.ticks = 0
        self.watch = ConnectionWatch(pairs, stall_seconds=stall_seconds, on_tick=self.tick)

    def tick(self) -> None:
        self.ticks += 1

    async def look(self, now: float) -> list[bool]:
        await self.watch._inspect(now)
        return [one.aborted for one in self.transports]


async def test_what_does_not_shrink_is_cut_off_after_its_time() -> None:
    world = World(100, 100, 0)
    assert await world.look(1.0) == [False] * 3
    world.transports[1].unsent = 99
    assert await world.look(6.0) == [False] * 3
    with capture_logs() as lines:
        assert await world.look(11.0) == [True, False, False]
    assert [line["event"] for line in lines] == ["answers_not_read"]
    assert await world.look(15.9) == [True, False, False]
    assert await world.look(16.0) == [True, True, False]
    assert world.watch.aborted == 2


async def test_another_answer_is_progress_and_more_bytes_are_not() -> None:
    world = World(100, 100)
    await world.look(1.0)
    world.transports[0].unsent = 200
    world.connections[1].answers += 1
    world.transports[1].unsent = 200
    await world.look(6.0)
    assert await world.look(11.0) == [True, False]


async def test_what_comes_after_all_was_taken_has_all_of_its_time() -> None:
    world = World(100)
    await world.look(1.0)
    world.transports[0].unsent = 0
    await world.look(2.0)
    assert world.watch.aborted == 0
    world.transports[0].unsent = 500  # after a long pause, and no other response
    assert await world.look(60.0) == [False]
    assert await world.look(69.9) == [False]
    assert await world.look(70.0) == [True]


async def test_a_stop_waits_a_second_for_readers() -> None:
    world = World(100, 100)
    world.watch.begin_shutdown()
    await world.look(5.0)
    world.transports[1].unsent = 50
    await world.look(5.9)
    assert await world.look(6.0) == [True, False]


async def test_a_head_has_its_time() -> None:
    world = World(0, 0, 0)
    world.connections[0].head_since = 1.0
    world.connections[1].head_since = 1.1
    await world.look(11.0)
    assert [one.expired for one in world.connections] == [True, False, False]
    assert world.watch.heads_expired == 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_watch, "UNSENT_BYTES", 250)


@pytest.mark.usefixtures("small")
async def test_all_together_are_bounded_and_the_longest_unmoved_go_first() -> None:
    world = World(100, 100)
    await world.look(1.0)
    world.connections[1].answers += 1
    await world.look(2.0)
    world.watch.response_started(40)
    assert await world.look(3.0) == [False, False]
    world.transports[1].unsent = 160
    with capture_logs() as lines:
        assert await world.look(4.0) == [True, False]
    assert [line["event"] for line in lines] == ["too_much_unsent"]


@pytest.mark.usefixtures("small")
async def test_between_two_looks_large_answers_are_counted() -> None:
    world = World(100, 100)
    await world.look(1.0)
    world.watch.response_started(50)
    assert not any(one.aborted for one in world.transports)
    world.transports[0].unsent = 300
    world.watch.response_started(200)
    assert [one.aborted for one in world.transports] == [True, False]


async def test_room_is_made_of_what_is_of_no_use_the_longest_first() -> None:
    now = asyncio.get_running_loop().time()
    world = World(0, 0, 0, 0, 100, 0)
    for one, age in zip(world.connections, (3.0, 5.0, 0.5, None, None, 2.0), strict=True):
        one.idle_since = None if age is None else now - age
    # The fifth is in the middle of an answer, and moved a moment ago.
    assert world.watch.close_unused() == 2
    assert [one.aborted for one in world.transports] == [True, True, False, False, False, False]
    assert world.watch.close_unused() == 0, "not looked for again at once"
    assert world.watch.closed_for_capacity == 2


async def test_bodies_that_do_not_arrive_give_way_to_new_connections() -> None:
    now = asyncio.get_running_loop().time()
    world = World(0, 0, 0)
    world.connections[0].body_since = now - 0.5
    world.connections[1].body_since = now - 3.0
    assert world.watch.close_unused() == 1
    assert [one.aborted for one in world.transports] == [False, True, False]


async def test_only_large_answers_are_told_of() -> None:
    told: list[int] = []
    service = HttpService()
    async with running(service) as client:
        assert service.server is not None
        service.server.watch.response_started = told.append  # type: ignore[method-assign]
        await client.call("GET", "/health/live", user=None)
        await client.call("GET", "/docs/swagger-ui.css", user=None)
    assert len(told) == 1
    assert told[0] > 100_000
    assert ReadyResponse(200, b"x" * 65_536).is_large
    assert not ReadyResponse(200, b"x" * 65_535).is_large
    assert not ReadyResponse(200, None).is_large


async def test_one_connections_trouble_does_not_end_the_watch() -> None:
    world = World(0, stall_seconds=0.04)

    def fail() -> int:
        raise RuntimeError("one connection's trouble")

    world.transports[0].get_write_buffer_size = fail  # type: ignore[method-assign]
    with capture_logs() as lines:
        world.watch.start()
        await until(lambda: len(lines) >= 3)
        await world.watch.stop()
    assert {line["event"] for line in lines} == {"connection_watch_failed"}
