"""The log of the server begins a new epoch, between two connections or during one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from chatsvc.client import (
    CaughtUp,
    Connected,
    CursorMoved,
    Disconnected,
    Gap,
    MessageReceived,
    Reset,
)
from chatsvc.core.ids import format_id, parse_id
from testkit.client_events import contents, soon, until
from testkit.scripted_server import PATIENCE, ScriptedServer, cursor, message, message_id

Connect = Callable[..., Any]


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


@pytest.mark.parametrize(
    "first",
    [
        message(6),
        message(6) | {"type": "reaction"},
        message(6, sender="alice"),
        {"type": "cursor", "cursor": cursor(6, "e2")},
    ],
    ids=["a message", "an unknown record", "the user's own", "a cursor"],
)
async def test_a_new_epoch_is_entered_right_before_what_comes_first(
    server: ScriptedServer, connect: Connect, first: dict[str, Any]
) -> None:
    client = await connect()
    peer = await server.greet(at=9)
    await soon(client, Connected)
    peer.drop()
    peer = await server.greet(at=5, recovered=True, epoch="e2")
    await peer.say(first)
    assert await soon(client, Reset) == Reset("e2", format_id(parse_id(message_id(6)) - 1))
    event = await anext(client)
    assert isinstance(event, MessageReceived | CursorMoved)
    assert event.cursor == cursor(6, "e2")


async def test_a_new_epoch_may_begin_with_being_caught_up(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet(at=9)
    await soon(client, Connected)
    peer.drop()
    peer = await server.greet(at=6, recovered=True, epoch="e2")
    await peer.say({"type": "caught_up", "cursor": cursor(6, "e2")})
    assert await soon(client, Reset) == Reset("e2", message_id(6))
    assert await anext(client) == CaughtUp(cursor(6, "e2"))


async def test_the_log_may_end_below_the_position_in_the_same_epoch(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(9))
    peer = await server.greet(at=5, recovered=False)
    await peer.say({"type": "gap", "from": message_id(5), "to": message_id(5)}, message(6))
    await soon(client, Connected)
    event = await anext(client)
    assert isinstance(event, MessageReceived)
    assert event.cursor == cursor(6)


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
    assert len(server.requests) == 2, "one at a time is fetched"


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
