from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chatsvc.client import (
    CaughtUp,
    Connected,
    Gap,
    MessageReceived,
)
from chatsvc.core.ids import parse_id
from testkit.client_events import contents, soon, until
from testkit.scripted_server import PATIENCE, ScriptedServer, cursor, message, message_id

Connect = Callable[..., Any]


async def test_a_gap_is_fetched_and_delivered_in_order(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0))
    server.history = [message(n) for n in range(1, 1203)]
    server.history[4] = message(5, "my own", sender="alice")
    peer = await server.greet(at=1200, recovered=False)
    await peer.say(
        {"type": "gap", "from": message_id(0), "to": message_id(1200)},
        {"type": "caught_up", "cursor": cursor(1200)},
        message(1201),  # live, while the gap is being fetched
        message(1202),
    )
    expected = [f"number {n}" for n in range(1, 1201) if n != 5]
    assert await contents(client, 1199) == expected
    assert await contents(client, 2) == ["number 1201", "number 1202"]
    await peer.say(message(1203))
    assert await contents(client, 1) == ["number 1203"]
    asked = [request.query["after"] for request in server.requests]
    assert asked[0] == message_id(0)
    assert asked == sorted(set(asked))


async def test_caught_up_is_said_after_the_gap_was_fetched(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0))
    server.history = [message(1), message(2)]
    peer = await server.greet(at=9, recovered=False)
    await peer.say(
        {"type": "gap", "from": message_id(0), "to": message_id(9)},
        {"type": "caught_up", "cursor": cursor(9)},
    )
    await soon(client, Connected)
    events = [await anext(client) for _ in range(3)]
    assert [type(event) for event in events] == [MessageReceived, MessageReceived, CaughtUp]
    assert client.cursor == cursor(9)


async def test_a_live_gap_that_was_fetched_does_not_say_caught_up(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    server.history = [message(1)]
    peer = await server.greet()
    await soon(client, Connected)
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(2)})
    assert isinstance(await anext(client), MessageReceived)
    await until(lambda: client._context.inbox.position == parse_id(message_id(2)))
    await peer.say(message(3))
    event = await anext(client)
    assert isinstance(event, MessageReceived)
    assert event.content == "number 3"


async def test_a_gap_can_be_left_to_the_application(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0), fill_gaps=False)
    peer = await server.greet(at=9, recovered=False)
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(9)}, message(10))
    assert await soon(client, Gap) == Gap(message_id(0), message_id(9))
    assert await contents(client, 1) == ["number 10"]
    assert server.requests == []


async def test_what_cannot_be_fetched_is_announced(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0))
    server.answer(403, {"code": "forbidden", "detail": "no"})
    peer = await server.greet(at=9, recovered=False)
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(9)})
    assert await soon(client, Gap) == Gap(message_id(0), message_id(9))
    await peer.say(message(10))
    assert await contents(client, 1) == ["number 10"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_gap_is_fetched_however_often_that_fails(
    server: ScriptedServer, connect: Connect, status: int
) -> None:
    client = await connect(since=cursor(0))
    server.history = [message(1), message(2), message(3)]
    for _ in range(9):  # three calls of three tries
        server.answer(status, "<html>not now</html>")
    server.answer(403, "<html>a proxy's own page</html>")
    server.hang_up()
    peer = await server.greet(at=2, recovered=False)
    await peer.say(
        {"type": "gap", "from": message_id(0), "to": message_id(2)},
        {"type": "caught_up", "cursor": cursor(2)},
        message(3),
    )
    await soon(client, Connected)
    events = [await anext(client) for _ in range(4)]
    assert [type(event) for event in events] == [MessageReceived] * 3 + [CaughtUp]
    assert client.cursor == cursor(3)
    assert server.connections == 1


async def test_no_cursor_passes_a_gap_that_is_not_fetched(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0))
    server.complete = False  # the store is away: only the recent end can be read
    server.history = [message(1), message(8)]
    peer = await server.greet(at=8, recovered=False)
    await peer.say(
        {"type": "gap", "from": message_id(0), "to": message_id(8)},
        {"type": "caught_up", "cursor": cursor(8)},
        {"type": "cursor", "cursor": cursor(9)},
        message(10),
    )
    await until(lambda: len(server.requests) >= 5)
    await soon(client, Connected)
    assert client.cursor == cursor(0)
    assert len(client._context.inbox) == 0
    peer.drop()
    peer = await server.accept()
    assert peer.since == cursor(0)
    await peer.hello(at=10, recovered=False)
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(10)})
    server.history.append(message(10))
    server.complete = True
    assert await contents(client, 3) == ["number 1", "number 8", "number 10"]


async def test_a_client_that_waits_for_a_gap_can_be_closed(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0))
    server.complete = False
    peer = await server.greet(at=8, recovered=False)
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(8)})
    await until(lambda: len(server.requests) >= 2)
    hearing = asyncio.create_task(peer.heard_close())
    async with asyncio.timeout(PATIENCE):
        await client.close()
        await hearing
    assert client.cursor == cursor(0)


async def test_sends_go_on_while_a_gap_is_waited_for(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0))
    server.complete = False
    peer = await server.greet(at=8, recovered=False)
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(8)})
    await until(lambda: len(server.requests) >= 2)
    sending = asyncio.create_task(client.send(["alice", "bob"], "hi"))
    await peer.ack(9, await peer.hear())
    assert (await sending).id == message_id(9)


async def test_a_gap_that_was_received_already_is_not_fetched(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(9))
    peer = await server.greet(at=9, recovered=False)
    await peer.say({"type": "gap", "from": message_id(5), "to": message_id(9)}, message(10))
    await soon(client, Connected)
    assert isinstance(await anext(client), MessageReceived)
    assert server.requests == []


async def test_a_gap_with_nothing_in_it_is_none(server: ScriptedServer, connect: Connect) -> None:
    client = await connect(since=cursor(4))
    peer = await server.greet(at=4, recovered=False)
    await peer.say(
        {"type": "gap", "from": message_id(4), "to": message_id(4)},
        {"type": "caught_up", "cursor": cursor(4)},
        message(5),
    )
    await soon(client, Connected)
    events = [await anext(client) for _ in range(2)]
    assert [type(event) for event in events] == [CaughtUp, MessageReceived]
    assert server.requests == []
