"""The stop of a service: whenever it comes, and whoever it has to wait for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from chatsvc.api.access import USER
from chatsvc.api.body import StreamedReply
from chatsvc.api.feature import Feature
from chatsvc.api.operation import Operation, Reply
from chatsvc.app import components, lifecycle
from chatsvc.app.lifecycle import Service, StoppedWhileStarting
from chatsvc.features.messages.service import AllowAll
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.waiting import until
from tests.unit.support.whole_service import Left, listens, names_of_tasks, settings


class Nothing(msgspec.Struct):
    """No parameter, and no answer."""


async def test_one_that_comes_during_a_start_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def hangs(*_: object, **__: object) -> None:
        began.set()
        await asyncio.Event().wait()

    left = Left(tmp_path)
    service = Service(settings(tmp_path), AllowAll())
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "read_store_state", hangs)
        start = asyncio.create_task(service.start())
        await began.wait()
        await asyncio.wait_for(asyncio.gather(service.stop(), service.stop()), 5)
    with pytest.raises(StoppedWhileStarting):
        await start
    assert left.nothing()
    running = await service.start()
    assert listens(running.url)
    await service.stop()


async def test_one_that_comes_in_the_last_step_of_a_start_ends_it_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left(tmp_path)
    service = Service(settings(tmp_path), AllowAll())
    stops: list[asyncio.Task[None]] = []
    usual = lifecycle.url_of

    def stop_in_between(*args: Any) -> str:
        stops.append(asyncio.create_task(service.stop()))
        # What the task begins with, in this turn of the event loop.
        assert service._starting is not None
        service._starting.reschedule(0)
        return usual(*args)

    monkeypatch.setattr(lifecycle, "url_of", stop_in_between)
    with pytest.raises(StoppedWhileStarting):
        await service.start()
    await stops[0]
    assert left.nothing()


async def test_a_second_one_waits_for_the_first(tmp_path: Path) -> None:
    service = Service(settings(tmp_path, DRAIN_SECONDS="0.3", SHUTDOWN_SECONDS="6"), AllowAll())
    running = await service.start()
    first = asyncio.create_task(service.stop())
    await asyncio.sleep(0.05)
    second = asyncio.create_task(service.stop())
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{running.url}/health/ready") as answer,
    ):
        assert answer.status == 503
    assert not first.done()
    await second
    assert not listens(running.url)
    await first


async def test_one_that_is_cancelled_still_gives_everything_back(tmp_path: Path) -> None:
    left = Left(tmp_path)
    service = Service(settings(tmp_path, DRAIN_SECONDS="5"), AllowAll())
    running = await service.start()
    stop = asyncio.create_task(service.stop())
    await asyncio.sleep(0.05)
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(stop, 4)
    assert not listens(running.url)
    assert left.nothing()


async def test_a_store_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[SqliteStore] = []
    usual = lifecycle.open_store

    def noted(*args: Any) -> Any:
        stores.append(usual(*args))  # type: ignore[arg-type]
        return stores[-1]

    left = Left(tmp_path)
    monkeypatch.setattr(lifecycle, "open_store", noted)
    service = Service(settings(tmp_path, DRAIN_SECONDS="0", SHUTDOWN_SECONDS="1"), AllowAll())
    await service.start()
    begun, go_on = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        begun.set()
        go_on.wait(20)

    hanging = asyncio.create_task(stores[0]._history.run(hang))
    await until(begun.is_set)
    started = time.monotonic()
    with capture_logs() as lines:
        await service.stop()
    assert time.monotonic() - started < 2.5
    assert [line["step"] for line in lines if line["event"] == "shutdown_timed_out"] == ["store"]
    go_on.set()
    await hanging
    await until(left.nothing)


async def test_a_send_that_a_policy_decides_leaves_no_task(tmp_path: Path) -> None:
    asked = asyncio.Event()

    class Undecided:
        async def check(self, sender: str, participants: tuple[str, ...]) -> None:
            asked.set()
            await asyncio.Event().wait()

    before = set(asyncio.all_tasks())
    service = Service(settings(tmp_path, DRAIN_SECONDS="0", DEV_LOGIN="loopback"), Undecided())
    running = await service.start()
    headers = {"Authorization": f"Bearer {running.dev_token('alice')}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{running.url}/ws", headers=headers) as ws,
    ):
        await ws.receive()
        await ws.send_json({"type": "send", "participants": ["alice", "bob"], "content": "x"})
        await asked.wait()
        reading = asyncio.create_task(ws.receive())
        with capture_logs() as lines:
            await service.stop()
        await reading
    left = [task for task in asyncio.all_tasks() - before if "chatsvc" in repr(task.get_coro())]
    assert left == []
    assert "command_failed" not in {line["event"] for line in lines}


async def test_a_stream_without_end_is_ended_within_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the drain takes all that it may: a half."""
    closed: list[bool] = []

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0.02)
        finally:
            closed.append(True)

    async def get(caller: object, request: Nothing) -> Reply:
        return Reply(200, StreamedReply(parts(), "image/png"))

    ticks = Operation(
        name="ticks", method="GET", path="/api/ticks", summary="Tick", access=USER,
        request=Nothing, tag="ticks", responses={200: ("Ticks.", ("image/png",))}, handler=get,
    )  # fmt: skip
    usual = components.features
    offered = Feature(name="ticks", operations=(ticks,))
    monkeypatch.setattr(components, "features", lambda given: (*usual(given), offered))
    times = {"DRAIN_SECONDS": "0.5", "SHUTDOWN_SECONDS": "1", "DEV_LOGIN": "loopback"}
    service = Service(settings(tmp_path, **times), AllowAll())
    running = await service.start()
    headers = {"Authorization": f"Bearer {running.dev_token('alice')}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{running.url}/api/ticks", headers=headers) as answer,
    ):
        assert await answer.content.readexactly(4) == b"tick"
        with capture_logs() as lines:
            await asyncio.wait_for(service.stop(), 2)
        assert closed == [True]
        assert "connection watch" not in names_of_tasks()
    cut = [line["requests"] for line in lines if line["event"] == "requests_cut_off"]
    assert cut == [1]


async def test_started_again_it_has_its_time_to_stop_again(tmp_path: Path) -> None:
    times = {"DRAIN_SECONDS": "0", "SHUTDOWN_SECONDS": "1", "DEV_LOGIN": "loopback"}
    service = Service(settings(tmp_path, **times), AllowAll())
    await service.start()
    await service.stop()
    await asyncio.sleep(1.1)
    running = await service.start()
    headers = {"Authorization": f"Bearer {running.dev_token('alice')}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{running.url}/ws", headers=headers) as ws,
    ):
        await ws.receive()
        reading = asyncio.create_task(ws.receive())
        await service.stop()
        await asyncio.wait_for(reading, 2)
        assert ws.close_code == 1012
    assert "socket monitor" not in names_of_tasks()
