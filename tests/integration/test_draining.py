"""Between the signal and the closing of the listener: unready, and everything is served."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import aiohttp

from testkit.process import LIMIT_SECONDS
from testkit.talking import SOON, bearer, talk
from tests.integration.conftest import Serve


async def until_unready(session: aiohttp.ClientSession, url: str) -> None:
    deadline = time.monotonic() + SOON
    while True:
        async with session.get(f"{url}/health/ready") as answer:
            if answer.status == 503:
                return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_while_draining_all_is_served_and_new_sockets_are_taken(serve: Serve) -> None:
    process, url = serve(DRAIN_SECONDS="300", SHUTDOWN_SECONDS="600")
    async with aiohttp.ClientSession() as session, talk(url, "alice") as alice:
        os.kill(process.pid, signal.SIGTERM)
        await until_unready(session, url)
        os.kill(process.pid, signal.SIGTERM)  # as a supervisor that sends it to the group, too
        async with talk(url, "bob") as bob:
            assert (await alice.say("bob"))["type"] == "ack"
            assert (await bob.next("cursor"))["type"] == "message"
        async with session.get(f"{url}/health/live") as answer:
            assert answer.status == 200
        async with session.get(f"{url}/api/conversations", headers=bearer("alice")) as answer:
            assert answer.status == 200
    # Whoever asks again later does not want to wait.
    deadline = time.monotonic() + LIMIT_SECONDS
    while process.running:
        os.kill(process.pid, signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert time.monotonic() < deadline
    assert process.stop() == 130


async def test_drained_it_closes_sockets_and_ends(serve: Serve) -> None:
    process, url = serve(DRAIN_SECONDS="0.3", SHUTDOWN_SECONDS="60")
    async with aiohttp.ClientSession() as session, talk(url, "alice") as alice:
        os.kill(process.pid, signal.SIGINT)
        await until_unready(session, url)
        assert (await alice.closed())[0] == 1012
    assert await asyncio.to_thread(process.stop) == 0


async def test_draining_for_half_of_its_time_it_closes_sockets_and_ends(serve: Serve) -> None:
    process, url = serve(DRAIN_SECONDS="0.5", SHUTDOWN_SECONDS="1")
    async with talk(url, "alice") as alice:
        os.kill(process.pid, signal.SIGTERM)
        assert (await alice.closed())[0] == 1012
    assert await asyncio.to_thread(process.stop) == 0
