"""A client that asks for records of other kinds than messages, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from aiohttp import web

from chatsvc.client import (
    ChangeReceived,
    Connected,
    CursorMoved,
    Disconnected,
    GaveUp,
    MessageReceived,
)
from testkit.client_events import contents, soon
from testkit.scripted_server import (
    PATIENCE,
    ScriptedServer,
    change,
    cursor,
    message,
    message_id,
)

Connect = Callable[..., Any]
FEATURES = ["resume", "echo", "receipts", "changes"]


async def records(client: Any, count: int) -> list[str]:
    """Contents of messages and kinds of changes, in their order."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            event = await anext(client)
            if isinstance(event, MessageReceived):
                found.append(event.content)
            elif isinstance(event, ChangeReceived):
                found.append(event.kind)
    return found


@pytest.mark.parametrize(
    ("kinds", "asked"),
    [
        (("message",), None),
        (["edit", "message"], "edit,message"),
        ({"edit"}, "edit"),
        ("all", None),
        (None, None),
    ],
)
async def test_the_handshake_asks_for_kinds_where_they_are_not_messages_or_all(
    server: ScriptedServer, connect: Connect, kinds: Any, asked: str | None
) -> None:
    await connect(kinds=kinds)
    peer = await server.accept()
    assert peer.request.query.get("kinds") == asked


async def test_by_default_it_asks_for_nothing_that_an_older_server_would_refuse(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet(features=FEATURES)
    assert dict(peer.request.query) == {}
    await peer.say(change(1, "edit"), message(2), change(3, "edit", sender="alice"))
    assert await soon(client, CursorMoved) == CursorMoved(cursor(1))
    assert await contents(client, 1) == ["number 2"]
    assert await soon(client, CursorMoved) == CursorMoved(cursor(3))
    server.history = [change(n, "edit") for n in range(4, 8)] + [message(8)]
    await peer.say({"type": "gap", "from": message_id(3), "to": message_id(9)})
    assert await contents(client, 1) == ["number 8"]
    assert {request.path for request in server.requests} == {"/api/messages"}


async def test_changes_are_events_in_one_order_with_messages(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(kinds="all")
    peer = await server.greet(features=FEATURES)
    await peer.say(message(1), change(2, "edit", target=message_id(1), content="new"), message(3))
    assert await contents(client, 1) == ["number 1"]
    event = await anext(client)
    assert isinstance(event, ChangeReceived)
    assert (event.kind, event.id, event.channel) == ("edit", message_id(2), "alice,bob")
    assert event.fields == {"target": message_id(1), "content": "new"}
    assert event.cursor == client.cursor == cursor(2)
    await peer.say(change(2, "edit"))  # each once
    assert await records(client, 1) == ["number 3"]
    peer.drop()
    peer = await server.accept()
    assert peer.since == cursor(3)


@pytest.mark.parametrize("echo", [False, True])
async def test_a_change_that_the_user_caused_is_delivered_and_a_message_only_with_echo(
    server: ScriptedServer, connect: Connect, echo: bool
) -> None:
    client = await connect(kinds="all", echo=echo)
    peer = await server.greet(features=FEATURES)
    sending = asyncio.create_task(client.send(["alice", "bob"], "own", client_id="c"))
    await peer.ack(1, await peer.hear())
    await sending
    await peer.say(
        message(1, "own", sender="alice", client_id="c"),
        change(2, "read", sender="alice", client_id="c"),
        message(3, "of another device", sender="alice"),
        message(4),
    )
    assert await records(client, 2 + echo) == [
        "read",
        *(["of another device"] if echo else []),
        "number 4",
    ]


async def test_records_that_were_not_asked_for_are_passed_over(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(kinds=["edit"])
    peer = await server.greet(features=FEATURES)
    await peer.say(message(1), change(2, "vote"), change(3, "edit"), message(4))
    assert await records(client, 1) == ["edit"]
    assert await soon(client, CursorMoved) == CursorMoved(cursor(4))


async def test_changes_are_bounded_as_messages_are(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(kinds="all", queue_size=3)
    peer = await server.greet(features=FEATURES)
    await soon(client, Connected)
    await peer.say(*[change(n, "edit") for n in range(1, 10)])
    found = await records(client, 1)
    assert len(client._context.inbox) <= 3
    assert found + await records(client, 8) == ["edit"] * 9
    assert client.cursor == cursor(9)
    assert server.requests == [], "the socket waited"


@pytest.mark.parametrize("kinds", ["all", ["edit"]])
async def test_a_server_without_changes_is_an_error_that_says_so(
    server: ScriptedServer, connect: Connect, kinds: Iterable[str]
) -> None:
    client = await connect(kinds=kinds, since=cursor(0))
    await server.greet(at=5, features=["resume", "echo"], recovered=True)
    text = "to ask for kinds, the server must have the feature changes"
    with pytest.raises(GaveUp, match=text):
        await client.wait_connected()
    assert (await soon(client, Disconnected)).retry_in is None
    with pytest.raises(GaveUp, match=text):
        await anext(client)
    assert client.cursor == cursor(0)
    assert server.connections == 1


async def test_an_older_server_refuses_the_parameter_and_the_error_says_why(
    server: ScriptedServer, connect: Connect
) -> None:
    server.refusals.append(
        web.json_response(
            {"code": "invalid", "detail": "there is no parameter 'kinds'"},
            status=422,
            content_type="application/problem+json",
        )
    )
    client = await connect(kinds=["message", "edit"])
    with pytest.raises(GaveUp, match="422; to ask for kinds, it must have the feature changes"):
        await client.wait_connected()
    assert server.connections == 0
