"""``/health`` knows of the store without a send: from the start, when it goes, when it is back."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from testkit import mongod
from testkit.talking import SOON
from tests.integration.conftest import Serve

KNOWN_SECONDS = 5.0
"""After which ``/health`` has promised to know; the machine may be busy, so more is waited."""


async def health(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as answer:
        found: dict[str, Any] = await answer.json()
        assert answer.status == 200, found
        return found


async def store_up(url: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        match = re.search(r"^chatsvc_store_up (\S+)$", await answer.text(), re.M)
        assert match
        return float(match[1])


async def until_status(url: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + KNOWN_SECONDS + SOON
    while (found := await health(url))["status"] != status:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    return found


async def test_mongodb_that_is_away_from_the_start_is_known_before_anything_is_sent(
    serve: Serve,
) -> None:
    uri = f"mongodb://chat:hunter2@127.0.0.1:{mongod.free_port()}"
    _, url = serve(STORE="mongodb", MONGO_URI=uri)
    found = await health(url)
    assert found["status"] == "degraded"
    assert found["checks"]["store"]["status"] == "degraded"
    assert found["checks"]["log"] == {"status": "ok"}
    assert found["checks"]["store"]["detail"]
    assert not re.search("127.0.0.1|hunter2|chat:", found["checks"]["store"]["detail"])
    assert await store_up(url) == 0


async def test_it_follows_mongodb_there_and_back(
    serve: Serve, mongo_server: mongod.MongoServer
) -> None:
    await asyncio.to_thread(mongo_server.kill)
    _, url = serve(STORE="mongodb", MONGO_URI=mongo_server.uri)
    assert (await health(url))["status"] == "degraded"
    await asyncio.to_thread(mongo_server.start)
    await until_status(url, "ok")
    assert await store_up(url) == 1
    ways: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (mongo_server.kill, mongo_server.start),
        (mongo_server.pause, mongo_server.resume),
    ]
    for goes, returns in ways:
        await asyncio.to_thread(goes)
        await until_status(url, "degraded")
        assert await store_up(url) == 0
        await asyncio.to_thread(returns)
        await until_status(url, "ok")
        assert await store_up(url) == 1


async def test_the_embedded_store_is_ok_from_the_start(serve: Serve) -> None:
    _, url = serve()
    assert (await health(url))["status"] == "ok"
    assert await store_up(url) == 1
