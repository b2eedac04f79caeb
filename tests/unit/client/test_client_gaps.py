from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from chatsvc.client import (
    CaughtUp,
    Connected,
    Disconnected,
    Gap,
    MessageReceived,
    Reset,
)
from tests.support.client_events import contents, soon, until
from tests.support.scripted_server import PATIENCE, ScriptedServer, cursor, message, message_id

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


# Another epoch


async def test_a_new_epoch_of_the_log(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    peer = await server.greet(at=3)
    await soon(client, Connected)
    peer.drop()
    server.history = [message(2, "of the new epoch")]
    peer = await server.greet(at=2, recovered=False, epoch="e2")
    assert (await soon(client, Connected)).cursor == cursor(3)
    await peer.say({"type": "gap", "from": message_id(1), "to": message_id(2)})
    assert await soon(client, Reset) == Reset("e2", message_id(1))
    assert client.cursor == cursor(1, "e2")
    assert await contents(client, 1) == ["of the new epoch"]
    assert client.cursor == cursor(2, "e2")


async def test_a_new_epoch_is_entered_only_where_the_server_says_from_where_on(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet(at=9)
    await soon(client, Connected)
    peer.drop()
    # It ends before it said what is to be fetched: nothing of the new epoch is passed.
    (await server.greet(at=20, recovered=False, epoch="e2")).drop()
    await soon(client, Disconnected)
    await soon(client, Connected)
    assert client.cursor == cursor(9)
    peer = await server.accept()
    assert peer.since == cursor(9)
    await peer.hello(at=20, recovered=False, epoch="e2")
    server.history = [message(8, "below"), message(20, "above")]
    await peer.say({"type": "gap", "from": message_id(7), "to": message_id(20)})
    assert await contents(client, 2) == ["below", "above"]


async def test_a_new_epoch_with_nothing_missed(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    peer = await server.greet(at=9)
    await soon(client, Connected)
    peer.drop()
    peer = await server.greet(at=5, recovered=False, epoch="e2")
    await peer.say({"type": "gap", "from": message_id(5), "to": message_id(5)})
    await peer.say({"type": "caught_up", "cursor": cursor(5, "e2")}, message(6))
    assert await soon(client, Reset) == Reset("e2", message_id(5))
    assert (await soon(client, CaughtUp)).cursor == cursor(5, "e2")
    # Its id is below the position in the epoch before, and it is no less a message.
    assert (await soon(client, MessageReceived)).cursor == cursor(6, "e2")
    assert server.requests == []


async def test_a_message_may_be_the_first_of_a_new_epoch(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet(at=9)
    await soon(client, Connected)
    peer.drop()
    peer = await server.greet(at=5, recovered=True, epoch="e2")
    await peer.say(message(6))
    assert (await soon(client, Reset)).epoch == "e2"
    assert (await soon(client, MessageReceived)).cursor == cursor(6, "e2")


async def test_the_log_may_end_below_the_position_in_the_same_epoch(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(9))
    peer = await server.greet(at=5, recovered=False)
    await peer.say({"type": "gap", "from": message_id(5), "to": message_id(5)}, message(6))
    assert (await soon(client, MessageReceived)).cursor == cursor(6)


@pytest.mark.parametrize("gap", [True, False], ids=["with a gap", "alone"])
async def test_a_reset_while_connected_fetches_what_is_above(
    server: ScriptedServer, connect: Connect, gap: bool
) -> None:
    client = await connect()
    peer = await server.greet(at=1)
    await peer.say(message(2), message(3), message(4, "of the old epoch alone"))
    assert len(await contents(client, 3)) == 3
    server.history = [message(2), message(3), message(5, "not sent"), message(7)]
    await peer.say({"type": "reset", "epoch": "e2", "from": message_id(2)})
    if gap:
        await peer.say({"type": "gap", "from": message_id(2), "to": message_id(6)})
    await peer.say(message(7))
    assert await soon(client, Reset) == Reset("e2", message_id(2))
    assert client.cursor == cursor(2, "e2")
    # 3 was delivered already, and is the same message; 5 was never sent.
    assert await contents(client, 2) == ["not sent", "number 7"]
    assert client.cursor == cursor(7, "e2")
    server.history = []
    await peer.say(message(8))
    assert (await soon(client, MessageReceived)).cursor == cursor(8, "e2")
    peer.drop()
    assert (await server.accept()).since == cursor(8, "e2")


async def test_a_reset_that_was_not_fetched_is_resumed_from(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet(at=9)
    await soon(client, Connected)
    server.complete = False
    await peer.say({"type": "reset", "epoch": "e2", "from": message_id(4)}, message(12))
    await until(lambda: len(server.requests) >= 2)
    peer.drop()
    assert (await server.accept()).since == cursor(4, "e2")


async def test_resets_while_a_gap_is_fetched(server: ScriptedServer, connect: Connect) -> None:
    client = await connect(since=cursor(0))
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        return web.json_response({"messages": [message(1, "gone")], "has_more": False})

    server.answers.append(slow)
    peer = await server.greet(at=50, recovered=False)
    await peer.say(
        {"type": "gap", "from": message_id(0), "to": message_id(50)},
        {"type": "caught_up", "cursor": cursor(50)},
    )
    await asyncio.wait_for(asked.wait(), PATIENCE)
    server.history = [message(2, "new")]
    await peer.say(
        {"type": "reset", "epoch": "e2", "from": message_id(0)},
        {"type": "reset", "epoch": "e3", "from": message_id(0)},
    )
    assert (await soon(client, Reset)).epoch == "e2"
    assert (await soon(client, Reset)).epoch == "e3"
    go_on.set()
    assert await contents(client, 1) == ["new"]
    assert (await soon(client, CaughtUp)).cursor == cursor(2, "e3")


async def test_a_reset_is_left_to_the_application_with_the_gaps(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(fill_gaps=False)
    peer = await server.greet(at=3)
    await peer.say(
        {"type": "reset", "epoch": "e2", "from": message_id(2)},
        {"type": "gap", "from": message_id(2), "to": message_id(5)},
        message(6),
    )
    assert await soon(client, Reset) == Reset("e2", message_id(2))
    assert await soon(client, Gap) == Gap(message_id(2), message_id(5))
    assert (await soon(client, MessageReceived)).cursor == cursor(6, "e2")
    assert server.requests == []


async def test_a_reset_while_connected_is_fetched_again_from_where_it_says(
    server: ScriptedServer, connect: Connect
) -> None:
    """As a server sends it whose log was put back and meets its store again: the range that
    is to be fetched follows."""
    client = await connect()
    peer = await server.greet(at=2)
    await peer.say(message(3), message(5))
    assert await contents(client, 2) == ["number 3", "number 5"]
    server.history = [message(3), message(4, "of the epoch before"), message(5)]
    await peer.say(
        {"type": "reset", "epoch": "e2", "from": message_id(2)},
        {"type": "gap", "from": message_id(2), "to": message_id(5)},
    )
    assert await soon(client, Reset) == Reset("e2", message_id(2))
    assert "of the epoch before" in await contents(client, 1)
    await peer.say(message(6))
    while (got := await contents(client, 1)) != ["number 6"]:
        assert got in (["number 3"], ["number 5"])
    assert client.cursor == cursor(6, "e2")
    peer.drop()
    assert (await server.accept()).since == cursor(6, "e2")
