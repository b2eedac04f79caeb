from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import WSMsgType

from chatsvc.client import (
    CaughtUp,
    Connected,
    CursorMoved,
    Disconnected,
    GaveUp,
    MessageReceived,
)
from chatsvc.client.inbox import Inbox
from testkit.client_events import contents, soon, until
from testkit.scripted_server import PATIENCE, ScriptedServer, cursor, message, message_id

Connect = Callable[..., Any]


async def test_a_message_is_an_event_with_all_its_members(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    frame = message(1, "hi", client_id="x1", metadata={"a": [1]}, colour="new")
    await peer.say(frame)
    got = await soon(client, MessageReceived)
    assert (got.id, got.channel, got.sender, got.content) == (
        message_id(1), "alice,bob", "bob", "hi",
    )  # fmt: skip
    assert got.participants == ("alice", "bob")
    assert (got.client_id, got.metadata) == ("x1", {"a": [1]})
    assert got.created_at == "2026-11-21T12:00:00.000Z"
    assert json.loads(got.raw) == frame
    assert got.cursor == client.cursor == cursor(1)


async def test_the_token_is_a_header_and_never_in_the_url(
    server: ScriptedServer, connect: Connect
) -> None:
    await connect("secret-token", device="phone-1", echo=True)
    peer = await server.accept()
    assert peer.token == "secret-token"
    assert "secret" not in str(peer.request.url)
    assert peer.request.headers["Sec-WebSocket-Protocol"] == "chatsvc.v1"
    assert dict(peer.request.query) == {"device": "phone-1", "echo": "true"}


async def test_what_is_unknown_is_ignored(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    peer = await server.greet(news="later")
    await peer.say({"type": "typing", "who": "bob"}, {"no": "type"}, message(1))
    assert await contents(client, 1) == ["number 1"]
    assert server.connections == 1


async def test_a_fresh_client_stands_where_hello_says(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet(at=5)
    connected = await soon(client, Connected)
    assert connected.hello.user == "alice"
    assert connected.cursor == client.cursor == cursor(5)
    peer.drop()
    assert (await server.accept()).since == cursor(5)


async def test_a_lost_connection_is_resumed_after_the_last_message(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.say(message(1), message(2))
    assert await contents(client, 2) == ["number 1", "number 2"]
    peer.drop()
    lost = await soon(client, Disconnected)
    assert lost.code == 1006
    assert lost.retry_in is not None
    peer = await server.greet(at=9, recovered=True)
    assert peer.since == cursor(2)
    await peer.say(message(2), message(3), {"type": "caught_up", "cursor": cursor(9)})
    assert (await soon(client, MessageReceived)).content == "number 3"  # 2 was there already
    assert (await soon(client, CaughtUp)).cursor == cursor(9)


async def test_messages_that_wait_for_the_consumer_are_not_asked_for_again(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    await soon(client, Connected)
    await peer.say(message(1), message(2))
    await peer.socket.ping()
    await peer.close(1012, "restart;retry_after_ms=1")
    peer = await server.accept()
    assert peer.since == cursor(2)
    assert client.cursor == cursor(0)  # nothing was taken: a crash now would lose nothing
    assert await contents(client, 2) == ["number 1", "number 2"]
    assert client.cursor == cursor(2)


async def test_an_earlier_cursor_is_gone_on_from(server: ScriptedServer, connect: Connect) -> None:
    client = await connect(since=cursor(4))
    assert client.cursor == cursor(4)
    peer = await server.accept()
    assert peer.since == cursor(4)
    await peer.hello(at=8, recovered=True)
    await peer.say(message(5))
    assert await contents(client, 1) == ["number 5"]


def test_a_since_that_is_no_cursor_is_refused() -> None:
    async def make() -> None:
        from chatsvc.client import ChatClient

        ChatClient("http://127.0.0.1:1", "t", since="yesterday")

    with pytest.raises(ValueError, match="cursor"):
        asyncio.run(make())


async def test_a_cursor_frame_moves_the_position(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.say({"type": "cursor", "cursor": cursor(6)})
    assert await soon(client, CursorMoved) == CursorMoved(cursor(6))
    assert client.cursor == cursor(6)
    peer.drop()
    assert (await server.accept()).since == cursor(6)


async def test_a_cursor_that_moves_nothing_is_no_event(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet(at=6)
    await peer.say({"type": "cursor", "cursor": cursor(6)}, {"type": "cursor", "cursor": cursor(5)})
    await peer.say(message(7))
    await soon(client, Connected)
    assert isinstance(await anext(client), MessageReceived)


async def test_a_slow_consumer_makes_the_socket_wait_and_loses_nothing(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(queue_size=5)
    peer = await server.greet()
    await soon(client, Connected)
    for number in range(1, 41):
        await peer.say(message(number))
    await until(lambda: len(client._context.inbox) == 5)
    assert await contents(client, 40) == [f"number {n}" for n in range(1, 41)]
    assert server.connections == 1
    assert server.requests == []


async def test_a_client_that_does_not_read_says_unasked_that_it_is_there(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(queue_size=1)
    peer = await server.greet(heartbeat_seconds=0.1)
    peer.socket._autoping = False  # to see the pongs
    await peer.say(message(1), message(2))
    async with asyncio.timeout(PATIENCE):
        frame = await peer.socket.receive()
    assert frame.type is WSMsgType.PONG
    assert await contents(client, 2) == ["number 1", "number 2"]


async def test_a_client_that_does_not_read_speaks_twice_in_a_heartbeat(
    server: ScriptedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []
    wait_changed = Inbox.wait_changed

    async def note(inbox: Inbox, timeout: float | None = None) -> None:
        waits.append(timeout)
        await wait_changed(inbox, timeout)

    monkeypatch.setattr(Inbox, "wait_changed", note)
    await connect(queue_size=1)
    peer = await server.greet(heartbeat_seconds=30.0)
    await peer.say(message(1))
    await until(lambda: len(waits) > 0)
    assert waits == [15.0]


async def test_a_consumer_that_goes_on_reading_is_sign_of_life_enough(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(queue_size=1)
    peer = await server.greet()
    peer.socket._autoping = False  # to see pongs
    await peer.say(*[message(number) for number in range(1, 6)])
    assert await contents(client, 5) == [f"number {number}" for number in range(1, 6)]
    sending = asyncio.create_task(client.send(["alice", "bob"], "hi"))
    await peer.ack(9, await peer.hear())  # and not a pong
    await sending


async def test_a_consumer_that_awaits_its_sends_does_not_wait_for_itself(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(queue_size=2)
    server.history = [message(n) for n in range(1, 31)]
    peer = await server.greet()
    await soon(client, Connected)
    sending = asyncio.create_task(client.send(["alice", "bob"], "an answer"))
    heard = await peer.hear()
    await peer.say(*server.history)  # far more than the queue holds, before the ack
    await peer.ack(99, heard)
    async with asyncio.timeout(PATIENCE):
        await sending
    assert len(client._context.inbox) <= 2
    assert await contents(client, 30) == [f"number {n}" for n in range(1, 31)]
    await peer.say(message(31))
    assert await contents(client, 1) == ["number 31"]


async def test_silence_ends_the_connection(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    peer = await server.greet(heartbeat_seconds=0.02)
    lost = await soon(client, Disconnected)
    assert lost.code == 4103
    peer.done.set()
    assert (await server.accept()).since == cursor(0)


async def test_pings_are_answered_and_are_a_sign_of_life(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet(heartbeat_seconds=0.4)
    hearing = asyncio.create_task(peer.socket.receive())
    for _ in range(20):
        await peer.socket.ping()
        await asyncio.sleep(0.1)  # altogether twice the silence that ends a connection
    await peer.say(message(1))
    assert await contents(client, 1) == ["number 1"]
    assert server.connections == 1
    hearing.cancel()
    await asyncio.wait([hearing])


@pytest.mark.parametrize(
    "frame",
    ['{"type":"message","id":"x"}', "{", '{"type":"gap","from":"1","to":"2"}'],
)
async def test_a_frame_that_cannot_be_read_ends_the_connection(
    server: ScriptedServer, connect: Connect, frame: str
) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.socket.send_str(frame)
    lost = await soon(client, Disconnected)
    assert "cannot be read" in lost.reason
    peer.done.set()
    await server.accept()


@pytest.mark.parametrize("code", [4200, 4201])
async def test_never_ends_the_events_after_what_was_received(
    server: ScriptedServer, connect: Connect, code: int
) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.say(message(1))
    await peer.close(code, "banned")
    assert await contents(client, 1) == ["number 1"]
    assert (await soon(client, Disconnected)).retry_in is None
    with pytest.raises(GaveUp) as caught:
        await anext(client)
    assert (caught.value.code, caught.value.reason) == (code, "banned")
    with pytest.raises(GaveUp):
        await client.send(["alice"], "too late")
    assert server.connections == 1


async def test_the_events_end_when_the_client_is_closed(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.say(message(1))
    assert await contents(client, 1) == ["number 1"]
    hearing = asyncio.create_task(peer.heard_close())
    await client.close()
    assert await hearing == 1000
    assert not client.connected
    assert [event async for event in client] == []
    await client.close()  # once more is nothing
