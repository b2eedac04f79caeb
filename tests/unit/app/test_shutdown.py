"""The time of a shutdown, shared by its steps."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from chatsvc.app.lifecycle import Shutdown
from tests.unit.support.virtual_time import in_virtual_time, passed


@in_virtual_time
async def test_steps_share_the_time_and_each_is_begun() -> None:
    ran: list[str] = []

    async def takes(name: str, seconds: float) -> None:
        ran.append(name)
        await asyncio.sleep(seconds)
        ran.append(f"{name} done")

    shutdown = Shutdown(10.0)
    shutdown.begin()
    await asyncio.sleep(1)
    shutdown.begin()  # the first call counts
    assert shutdown.seconds_left() == 9.0
    with capture_logs() as lines:
        await shutdown.step("drain", lambda: takes("drain", 3))
        assert shutdown.seconds_left() == 6.0
        await shutdown.step("sockets", lambda: takes("sockets", 30))
        assert (passed(), shutdown.seconds_left()) == (10.0, 0.0)
        await shutdown.step("requests", lambda: takes("requests", 1))
        assert passed() == 10.0
    assert ran == ["drain", "drain done", "sockets", "requests"]
    assert [(line["event"], line["step"], line["seconds"]) for line in lines] == [
        ("shutdown_timed_out", "sockets", 10.0),
        ("shutdown_timed_out", "requests", 10.0),
    ]


@in_virtual_time
async def test_the_time_begins_when_it_is_first_asked_for() -> None:
    await asyncio.sleep(3)
    shutdown = Shutdown(5.0)
    assert shutdown.seconds_left() == 5.0
    await asyncio.sleep(2)
    assert shutdown.seconds_left() == 3.0


@in_virtual_time
async def test_what_must_be_given_back_has_a_least_time() -> None:
    shutdown = Shutdown(1.0)
    shutdown.begin()
    await asyncio.sleep(5)
    with capture_logs() as lines:
        await shutdown.step("store", lambda: asyncio.sleep(0.4), minimum=0.5)
        await shutdown.step("store", lambda: asyncio.sleep(0.6), minimum=0.5)
    assert passed() == 5.9
    assert [line["event"] for line in lines] == ["shutdown_timed_out"]


@in_virtual_time
async def test_after_the_end_the_time_begins_anew() -> None:
    shutdown = Shutdown(1.0)
    shutdown.begin()
    await asyncio.sleep(5)
    shutdown.end()
    assert shutdown.seconds_left() == 1.0
