"""With ``echo`` a server replays everything: what the client sent itself is not an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from chatsvc.client import ChatClient, Connected, CursorMoved, MessageReceived
from chatsvc.core.ids import parse_id
from testkit.client_events import contents, soon, until
from testkit.scripted_server import Peer, ScriptedServer, cursor, message, message_id

Connect = Callable[..., Any]
BOTH = ["alice", "bob"]


async def acknowledged(client: ChatClient, peer: Peer, number: int) -> str:
    """Send by the socket; the ``client_id``."""
    sending = asyncio.create_task(client.send(BOTH, f"own {number}"))
    frame = await peer.hear()
    await peer.ack(number, frame)
    await sending
    return str(frame["client_id"])


def own(number: int, client_id: str | None = None) -> dict[str, Any]:
    more = {"client_id": client_id} if client_id is not None else {}
    return message(number, f"own {number}", sender="alice", **more)


async def test_a_replay_leaves_out_what_the_client_sent(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(echo=True)
    peer = await server.greet()
    first = await acknowledged(client, peer, 1)
    waiting = asyncio.create_task(client.send(BOTH, "own 2"))
    second = (await peer.hear())["client_id"]
    peer.drop()  # accepted, and the ack is lost
    peer = await server.greet(at=4, recovered=True)
    assert peer.since == cursor(0)
    await peer.say(own(1, first), own(2, second), own(3, "of another device"), message(4))
    assert await contents(client, 2) == ["own 3", "number 4"]
    again = await peer.hear()
    assert again["client_id"] == second
    await peer.ack(2, again, duplicate=True)
    assert (await waiting).duplicate


async def test_its_own_messages_move_the_position(server: ScriptedServer, connect: Connect) -> None:
    client = await connect(echo=True)
    peer = await server.greet()
    client_id = await acknowledged(client, peer, 1)
    await peer.say(own(1, client_id))
    assert await soon(client, CursorMoved) == CursorMoved(cursor(1))
    peer.drop()
    assert (await server.accept()).since == cursor(1)


@pytest.mark.parametrize("api", [True, False], ids=["client.api.post", "client.post"])
async def test_what_was_sent_over_http_is_known_before_the_answer_and_after_it(
    server: ScriptedServer, connect: Connect, api: bool
) -> None:
    client = await connect(echo=True)
    peer = await server.greet()
    await soon(client, Connected)

    async def echo_first(_: web.Request) -> web.StreamResponse:
        await peer.say(own(1, "c1"))
        await until(lambda: client._context.inbox.position == parse_id(message_id(1)))
        return web.json_response(own(2, "c1"), status=201)

    server.answers.append(echo_first)
    post = client.api.post if api else client.post
    await post(BOTH, "own 1", client_id="c1")
    await peer.say(own(2), message(3))
    assert await contents(client, 1) == ["number 3"]


async def test_what_another_device_sent_under_the_same_client_id_elsewhere_is_received(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(echo=True)
    peer = await server.greet()
    sending = asyncio.create_task(client.send(BOTH, "mine", client_id="1"))
    await peer.ack(1, await peer.hear())
    await sending
    elsewhere = own(2, "1") | {"channel": "alice,carol", "participants": ["alice", "carol"]}
    await peer.say(elsewhere)
    assert await contents(client, 1) == ["own 2"]


async def test_a_gap_leaves_out_what_the_client_sent(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(echo=True)
    peer = await server.greet()
    await soon(client, Connected)
    client_id = await acknowledged(client, peer, 1)
    server.history = [own(1, client_id), own(2, "of another device"), message(3)]
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(3)})
    assert await contents(client, 2) == ["own 2", "number 3"]


async def test_without_echo_nothing_of_the_user_is_received(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.say(own(1, "of another device"), message(2))
    assert (await soon(client, MessageReceived)).content == "number 2"
