"""What the socket did not carry of records of other kinds, and how it is fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from chatsvc.client import (
    CaughtUp,
    ChangeReceived,
    Connected,
    Gap,
    MessageReceived,
    Reset,
)
from chatsvc.client import missed as missed_pages
from testkit.client_events import soon
from testkit.scripted_server import PATIENCE, ScriptedServer, change, cursor, message, message_id

Connect = Callable[..., Any]
FEATURES = ["resume", "echo", "receipts", "changes"]


def story(first: int, last: int) -> list[dict[str, Any]]:
    """Messages and two kinds of changes in turn."""
    kinds = ("message", "edit", "vote")
    return [
        message(n) if n % 3 == 0 else change(n, kinds[n % 3], sender="alice")
        for n in range(first, last + 1)
    ]


def gap(above: int, to: int) -> dict[str, Any]:
    return {"type": "gap", "from": message_id(above), "to": message_id(to)}


async def ids(client: Any, count: int) -> list[str]:
    """Ids of the next records."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            event = await anext(client)
            if isinstance(event, MessageReceived | ChangeReceived):
                found.append(event.id)
    return found


async def test_a_gap_is_fetched_by_the_same_kinds_and_delivered_in_order(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0), kinds=["message", "edit"])
    server.history = story(1, 1200) + story(1201, 1203)
    peer = await server.greet(at=1200, recovered=False, features=FEATURES)
    await peer.say(
        gap(0, 1200),
        {"type": "caught_up", "cursor": cursor(1200)},
        *[one for one in story(1201, 1203) if one["type"] != "vote"],
    )
    expected = [one["id"] for one in story(1, 1203) if one["type"] != "vote"]
    assert await ids(client, len(expected)) == expected
    assert (await soon(client, CaughtUp)).cursor == cursor(1203)
    assert {request.path for request in server.requests} == {"/api/changes"}
    assert {request.query["kinds"] for request in server.requests} == {"edit,message"}
    asked = [request.query["after"] for request in server.requests]
    assert asked == [message_id(0), message_id(500), message_id(1000)]


async def test_pages_without_frames_are_gone_on_from(
    server: ScriptedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed_pages, "PAGE_SIZE", 3)
    client = await connect(since=cursor(0), kinds=["edit"])
    server.history = [change(n, "vote") for n in range(1, 10)] + [change(10, "edit")]
    peer = await server.greet(at=10, recovered=False, features=FEATURES)
    await peer.say(gap(0, 10))
    assert await ids(client, 1) == [message_id(10)]
    asked = [request.query["after"] for request in server.requests]
    assert asked == [message_id(n) for n in (0, 3, 6, 9)]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_gap_is_fetched_however_often_that_fails(
    server: ScriptedServer, connect: Connect, status: int
) -> None:
    client = await connect(since=cursor(0), kinds="all")
    server.history = story(1, 4)
    for _ in range(6):  # two calls of three tries
        server.answer(status, "<html>not now</html>")
    stuck = {"frames": [], "up_to": message_id(0), "has_more": True, "complete": True}
    server.answer(200, stuck)  # as good as no answer: it does not move
    server.answer(200, {"frames": [], "up_to": message_id(4), "complete": False})
    server.hang_up()
    peer = await server.greet(at=3, recovered=False, features=FEATURES)
    await peer.say(gap(0, 3), {"type": "caught_up", "cursor": cursor(3)}, *story(4, 4))
    await soon(client, Connected)
    events = [await anext(client) for _ in range(5)]
    assert [type(event) for event in events] == [
        ChangeReceived, ChangeReceived, MessageReceived, ChangeReceived, CaughtUp,
    ]  # fmt: skip
    assert client.cursor == cursor(4)
    assert server.connections == 1
    assert {request.query.get("after") for request in server.requests} == {message_id(0)}


async def test_what_the_server_refuses_for_good_is_a_gap_with_exact_ends(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0), kinds="all")
    first = {"frames": story(1, 2), "up_to": message_id(5), "has_more": True, "complete": True}
    server.answer(200, first)
    server.answer(403, {"code": "forbidden", "detail": "no"})
    peer = await server.greet(at=9, recovered=False, features=FEATURES)
    await peer.say(gap(0, 9))
    assert await ids(client, 2) == [message_id(1), message_id(2)]
    assert await soon(client, Gap) == Gap(message_id(5), message_id(9))
    await peer.say(*story(10, 10))
    assert await ids(client, 1) == [message_id(10)]


async def test_a_gap_can_be_left_to_the_application(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0), kinds="all", fill_gaps=False)
    peer = await server.greet(at=9, recovered=False, features=FEATURES)
    await peer.say(gap(0, 9), *story(10, 11))
    assert await soon(client, Gap) == Gap(message_id(0), message_id(9))
    assert await ids(client, 2) == [message_id(10), message_id(11)]
    assert server.requests == []


async def test_what_comes_live_while_a_gap_is_fetched_waits_and_comes_once(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0), kinds="all")
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        page = {"frames": story(1, 4), "up_to": message_id(4), "has_more": False}
        return web.json_response(page)

    server.answers.append(slow)
    server.history = story(1, 9)
    peer = await server.greet(at=3, recovered=False, features=FEATURES)
    await peer.say(gap(0, 3))
    await asyncio.wait_for(asked.wait(), PATIENCE)
    await peer.say(*story(4, 6), {"type": "cursor", "cursor": cursor(7)}, *story(8, 8))
    await peer.say(*story(9, 9))
    sending = asyncio.create_task(client.send(["alice", "bob"], "hi"))
    await peer.ack(10, await peer.hear())
    await sending  # what the server said before the ack was handled
    assert client._context.inbox.cursor == cursor(0)
    go_on.set()
    assert await ids(client, 9) == [message_id(n) for n in range(1, 10)]
    assert client.cursor == cursor(9)


async def test_a_slow_consumer_that_waits_for_an_ack_gets_the_rest_by_changes(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(kinds="all", queue_size=2)
    peer = await server.greet(features=FEATURES)
    await soon(client, Connected)
    sending = asyncio.create_task(client.send(["alice", "bob"], "hi"))
    send = await peer.hear()
    server.history = story(1, 8)
    await peer.say(*story(1, 8))
    await peer.ack(9, send)
    async with asyncio.timeout(PATIENCE):
        await sending  # the ack did not wait for the consumer
    assert await ids(client, 8) == [message_id(n) for n in range(1, 9)]
    assert {request.path for request in server.requests} == {"/api/changes"}


async def test_a_reset_is_fetched_by_changes(server: ScriptedServer, connect: Connect) -> None:
    client = await connect(kinds="all")
    peer = await server.greet(at=0, features=FEATURES)
    await peer.say(*story(1, 4))
    assert len(await ids(client, 4)) == 4
    server.history = story(1, 2) + story(5, 7)
    await peer.say({"type": "reset", "epoch": "e2", "from": message_id(2)}, gap(2, 6))
    await peer.say(*story(7, 7))
    assert await soon(client, Reset) == Reset("e2", message_id(2))
    assert await ids(client, 3) == [message_id(n) for n in (5, 6, 7)]
    assert client.cursor == cursor(7, "e2")
    assert server.requests[0].query["after"] == message_id(2)
    peer.drop()
    assert (await server.accept()).since == cursor(7, "e2")
