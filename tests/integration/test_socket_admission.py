"""How many sockets there may be, and what is noted of those that come and go."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import websockets

from testkit.process import Process
from testkit.talking import SOON, bearer, log_lines, talk, token
from testkit.waiting import until
from tests.integration.conftest import Serve
from tests.integration.support.handshakes import closed_with, refused


async def test_one_more_than_there_may_be_comes_back_later(serve: Serve) -> None:
    _, url = serve(MAX_CONNECTIONS="2")
    async with talk(url, "ann"), talk(url, "ben"):
        status, headers, problem = await refused(url + "/ws", bearer("cem"))
        assert (status, problem["code"]) == (503, "overload")
        assert int(headers["Retry-After"]) >= 1
        code, reason = await closed_with(url, "chatsvc.v1", f"bearer.{token('cem')}")
        assert code == 1013
        assert reason.partition(";")[2].startswith("retry_after_ms=")
    async with asyncio.timeout(SOON):
        while True:
            try:
                async with talk(url, "cem") as one:
                    assert one.hello["user"] == "cem"
                    return
            except websockets.InvalidStatus:
                await asyncio.sleep(0.01)  # the others are about to be gone


async def test_one_user_has_so_many_and_others_are_not_in_its_way(serve: Serve) -> None:
    _, url = serve(MAX_CONNECTIONS_PER_USER="2")
    async with talk(url, "ann"), talk(url, "ann", since="unreadable"), talk(url, "ben"):
        status, headers, problem = await refused(url + "/ws", bearer("ann"))
        assert (status, problem["code"]) == (429, "too_many_connections")
        assert problem["detail"] == "a user must not have more than 2 connections"
        assert int(headers["Retry-After"]) >= 1
        code, reason = await closed_with(url, "chatsvc.v1", f"bearer.{token('ann')}")
        assert code == 1013
        assert re.fullmatch(r"connections;retry_after_ms=\d+", reason)
        async with talk(url, "ben") as one:
            assert one.hello["user"] == "ben"
    async with asyncio.timeout(SOON):
        while True:
            try:
                async with talk(url, "ann") as one:
                    assert one.hello["user"] == "ann"
                    return
            except websockets.InvalidStatus:
                await asyncio.sleep(0.01)  # the others are about to be gone


async def test_connections_are_counted_while_they_last(url: str) -> None:
    async def count() -> dict[str, int]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url + "/api/connections", json={"users": ["kim", "lou"]}) as answer,
        ):
            return dict((await answer.json())["connections"])

    async with talk(url, "kim"):
        async with talk(url, "kim"):
            assert await count() == {"kim": 2, "lou": 0}
        async with asyncio.timeout(SOON):
            while (await count())["kim"] != 1:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)


async def test_a_line_when_one_comes_and_when_one_goes(url: str, service: Process) -> None:
    async with talk(url, "nell") as one:
        connection = one.hello["connection_id"]

    def lines(event: str) -> list[dict[str, Any]]:
        return [line for line in log_lines(service, event) if line.get("connection") == connection]

    await until(lambda: lines("disconnect"))
    assert lines("connect")[0]["user"] == "nell"
    assert lines("disconnect")[0]["reason"] == "client closed 1000"
