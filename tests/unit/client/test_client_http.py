"""The calls of the HTTP interface that a client passes on, with whatever they were given."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chatsvc.client import ChatClient
from testkit.scripted_server import ScriptedServer, message, message_id

Connect = Callable[..., Any]


async def test_a_page_of_a_conversation(server: ScriptedServer, connect: Connect) -> None:
    client: ChatClient = await connect()
    await client.history(["bob", "alice"], limit=7, before=message_id(9))
    await client.history(channel="alice,bob", after=message_id(1))
    await client.history(around=message_id(5))
    assert [dict(request.query) for request in server.requests] == [
        {"participants": "bob,alice", "limit": "7", "before": message_id(9)},
        {"channel": "alice,bob", "limit": "100", "after": message_id(1)},
        {"limit": "100", "around": message_id(5)},
    ]


async def test_a_page_of_conversations(server: ScriptedServer, connect: Connect) -> None:
    client: ChatClient = await connect()
    for _ in range(2):
        server.answer(200, {"conversations": [{"channel": "alice,bob"}], "has_more": True})
    page = await client.conversations(limit=3, before=message_id(9))
    assert ([one.channel for one in page.conversations], page.has_more) == (["alice,bob"], True)
    await client.conversations()
    assert [dict(request.query) for request in server.requests] == [
        {"limit": "3", "before": message_id(9)},
        {"limit": "100"},
    ]


async def test_connections(server: ScriptedServer, connect: Connect) -> None:
    client: ChatClient = await connect()
    server.connected = {"bob": 2}
    assert await client.connections(iter(["alice", "bob"])) == {"alice": 0, "bob": 2}


async def test_one_message(server: ScriptedServer, connect: Connect) -> None:
    client: ChatClient = await connect()
    server.answer(200, message(1) | {"state": "accepted"})
    found = await client.message(message_id(1))
    assert (found.message.content, found.state) == ("number 1", "accepted")
    assert server.requests[0].path == f"/api/messages/{message_id(1)}"


async def test_the_device_is_named_to_the_server(server: ScriptedServer, connect: Connect) -> None:
    client: ChatClient = await connect(device="tv")
    await client.history()
    assert server.requests[0].headers["Chatsvc-Device"] == "tv"


async def test_a_post(server: ScriptedServer, connect: Connect) -> None:
    client: ChatClient = await connect()
    server.answer(201, message(1))
    sent = await client.post(("bob", "alice"), "hi", "mine", {"a": 1})
    assert (sent.id, sent.client_id, sent.duplicate) == (message_id(1), "mine", False)
    assert json.loads(await server.requests[0].read()) == {
        "participants": ["bob", "alice"],
        "content": "hi",
        "client_id": "mine",
        "metadata": {"a": 1},
    }
