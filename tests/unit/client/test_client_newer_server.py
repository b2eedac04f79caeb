"""A server of a later version: ``docs/versioning.md`` says what it may send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from chatsvc.client import (
    CaughtUp,
    Connected,
    CursorMoved,
    Disconnected,
    MessageReceived,
    SendRefused,
)
from testkit.client_events import contents, soon
from testkit.scripted_server import EPOCH, ScriptedServer, cursor, message, message_id

Connect = Callable[..., Any]

NEW_FRAMES: list[dict[str, Any]] = [
    {"type": "typing", "who": "bob"},
    {"type": "sent", "id": message_id(900), "client_id": "c", "created_at": "t"},
    {"type": {"of": "an object"}},
    {"type": 7},
    {"type": None},
    {},
    {"type": "hello", "again": True},
    {"type": "pong", "ref": 5},
    {"type": "auth_ok", "expires_at": "never"},
    {"type": "stored", "up_to": message_id(1), "by": ["mongodb"]},
    {"type": "error", "code": "of_later", "detail": "d", "limit": "2 MB", "retry_after": "soon"},
    {"type": "ack", "ref": "of nobody", "id": message_id(900), "created_at": "t", "rev": 4},
    {"type": "cursor", "cursor": "another-form"},
    {"type": "cursor", "cursor": f"another-epoch.{message_id(900)}"},
]


@pytest.mark.parametrize("frame", NEW_FRAMES, ids=json.dumps)
async def test_frames_that_are_not_known_change_nothing(
    server: ScriptedServer, connect: Connect, frame: dict[str, Any]
) -> None:
    client = await connect()
    peer = await server.greet(features=["resume", "polls"], server_time={"ms": 5})
    await peer.say(frame, message(1, colour="new", metadata=["another", "type"]))
    assert await contents(client, 1) == ["number 1"]
    assert client.cursor == cursor(1)
    assert server.connections == 1


async def test_records_of_kinds_that_are_not_known_move_the_cursor(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.say(message(1), message(2) | {"type": "reaction", "target": message_id(1)})
    assert await contents(client, 1) == ["number 1"]
    assert await soon(client, CursorMoved) == CursorMoved(cursor(2))
    assert client.cursor == cursor(2)
    peer.drop()
    peer = await server.accept()
    assert peer.since == cursor(2)  # or the same would be replayed for ever


async def test_a_message_without_content_is_received_as_one(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    unsent = message(1, unsent=True)
    del unsent["content"], unsent["participants"]
    await peer.say(unsent)
    got = await soon(client, MessageReceived)
    assert (got.content, got.participants, got.cursor) == ("", (), cursor(1))
    assert json.loads(got.raw)["unsent"] is True


async def test_kinds_that_are_not_known_in_the_pages_of_a_gap(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0))
    server.history = [
        message(1) | {"type": "joined"},
        message(2),
        {"type": "unsent", "id": message_id(3), "channel": "alice,bob", "sender": "bob",
         "created_at": "2026-11-21T12:00:00.000Z", "participants": ["alice", "bob"]},
        {"type": "marker", "id": message_id(4)},
    ]  # fmt: skip
    peer = await server.greet(at=4, recovered=False)
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(4)})
    await peer.say({"type": "caught_up", "cursor": cursor(4)})
    await soon(client, Connected)
    events = [await anext(client) for _ in range(2)]
    assert [type(event) for event in events] == [MessageReceived, CaughtUp]
    assert client.cursor == cursor(4)
    await peer.say(message(5))
    assert await contents(client, 1) == ["number 5"]


async def test_a_record_that_is_not_known_while_a_gap_is_fetched_does_not_pass_it(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(since=cursor(0))
    server.complete = False
    server.history = [message(1)]
    peer = await server.greet(at=4, recovered=False)
    await peer.say(
        {"type": "gap", "from": message_id(0), "to": message_id(4)},
        message(5) | {"type": "reaction"},
        {"type": "stored", "up_to": message_id(1)},
    )
    await soon(client, Connected)
    await anext(client)  # the frames before it were handled
    assert client.cursor == cursor(0)
    server.complete = True
    assert await contents(client, 1) == ["number 1"]


@pytest.mark.parametrize("code", [1014, 3000, 3999, 4100, 4142, 4199, 4300, 4999])
async def test_close_codes_that_are_not_known_are_decided_by_their_range(
    server: ScriptedServer, connect: Connect, code: int
) -> None:
    client = await connect()
    await (await server.greet()).close(code, "of a later version;with=more")
    lost = await soon(client, Disconnected)
    assert lost.code == code
    assert lost.retry_in is not None
    await server.greet()
    await soon(client, Connected)


async def test_a_close_without_a_code(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    peer = await server.greet()
    await soon(client, Connected)
    assert peer.request.transport is not None
    peer.request.transport.write(b"\x88\x00")
    assert (await soon(client, Disconnected)).code == 1005
    peer.done.set()
    await server.greet()


async def test_an_epoch_of_another_form(server: ScriptedServer, connect: Connect) -> None:
    epoch = "Shard-7.of_a-Cluster"
    client = await connect(since=cursor(0, epoch))
    peer = await server.accept()
    assert peer.since == cursor(0, epoch)
    await peer.hello(at=1, epoch=epoch, recovered=True)
    await peer.say({"type": "cursor", "cursor": cursor(1, epoch)})
    assert (await soon(client, CursorMoved)).cursor == cursor(1, epoch)


@pytest.mark.parametrize("heartbeat", [0, -1, "none", None, 10**6])
async def test_a_hello_with_as_little_as_a_client_needs(
    server: ScriptedServer, connect: Connect, heartbeat: object
) -> None:
    client = await connect()
    peer = await server.accept()
    hello = {"type": "hello", "user": "alice", "epoch": EPOCH, "cursor": cursor(0)}
    await peer.say(hello | {"heartbeat_seconds": heartbeat, "features": "none"})
    assert (await soon(client, Connected)).hello.features == []
    await peer.say(message(1))
    assert await contents(client, 1) == ["number 1"]
    assert server.connections == 1


@pytest.mark.parametrize("retry_after", [0.001, None])
async def test_an_error_of_a_send_with_a_code_that_is_not_known(
    server: ScriptedServer, connect: Connect, retry_after: float | None
) -> None:
    client = await connect()
    peer = await server.greet()
    sending = asyncio.create_task(client.send(["alice", "bob"], "hi"))
    frame = await peer.hear()
    error = {"type": "error", "ref": frame["ref"], "code": "of_later", "detail": "d"}
    await peer.say(error | ({"retry_after": retry_after} if retry_after else {}))
    if retry_after:  # it can pass, whatever it is
        await peer.ack(1, await peer.hear())
        assert (await sending).id == message_id(1)
    else:
        with pytest.raises(SendRefused) as caught:
            await sending
        assert caught.value.code == "of_later"
