"""A send that names its conversation by the channel key, as a message has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from chatsvc.client import ChatApi, Connected, MessageReceived, SendRefused
from testkit.client_events import contents, soon
from testkit.scripted_server import ScriptedServer, cursor, message, message_id

Connect = Callable[..., Any]
GROUP = ",sha256:" + "5" * 64


async def test_an_answer_goes_to_the_channel_of_the_message(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.say(message(1, channel=GROUP))
    event = await soon(client, MessageReceived)
    sending = asyncio.create_task(client.send(channel=event.channel, content="yes"))
    heard = await peer.hear()
    assert (heard["channel"], heard["content"]) == (GROUP, "yes")
    assert "participants" not in heard
    await peer.ack(2, heard)
    assert (await sending).id == message_id(2)


async def test_participants_are_sent_without_a_channel(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    sending = asyncio.create_task(client.send(("bob", "alice"), "hi"))
    heard = await peer.hear()
    assert heard["participants"] == ["bob", "alice"]
    assert "channel" not in heard
    await peer.ack(1, heard)
    await sending


async def test_a_lost_ack_makes_the_same_send_go_out_again(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    sending = asyncio.create_task(client.send(channel=GROUP, content="hi", client_id="mine"))
    peer = await server.greet()
    first = await peer.hear()
    assert (first["client_id"], client.unsent) == ("mine", 1)
    peer.drop()
    peer = await server.greet()
    again = await peer.hear()
    assert again == first
    await peer.ack(1, again, duplicate=True)
    assert (await sending).duplicate
    assert client.unsent == 0


async def test_a_refused_channel_is_raised_and_one_looked_up_later_is_sent_again(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    sending = asyncio.create_task(client.send(channel=GROUP, content="hi"))
    refusal = {"type": "error", "ref": (await peer.hear())["ref"], "detail": "d"}
    await peer.say(refusal | {"code": "store_unavailable", "retry_after": 0.001})
    assert (await peer.hear())["ref"] == refusal["ref"]
    await peer.say(refusal | {"code": "not_a_participant", "pointer": "/channel"})
    with pytest.raises(SendRefused) as caught:
        await sending
    assert [error.pointer for error in caught.value.errors] == ["/channel"]


async def test_what_was_sent_by_channel_is_no_event(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(echo=True)
    peer = await server.greet()
    await soon(client, Connected)
    waiting = asyncio.create_task(client.send(channel=GROUP, content="own 1"))
    client_id = (await peer.hear())["client_id"]
    peer.drop()  # accepted, and the ack is lost
    peer = await server.greet(at=2, recovered=True)
    assert peer.since == cursor(0)
    own = message(1, "own 1", sender="alice", channel=GROUP, client_id=client_id)
    await peer.say(own, message(2))
    assert await contents(client, 1) == ["number 2"]
    await peer.ack(1, await peer.hear(), duplicate=True)
    await waiting
    server.answer(201, message(3, sender="alice", channel=GROUP))
    await client.post(channel=GROUP, content="own 3", client_id="c3")
    own = message(3, "own 3", sender="alice", channel=GROUP, client_id="c3")
    await peer.say(own, message(4))
    assert await contents(client, 1) == ["number 4"]


@pytest.mark.parametrize("of_the_client", [True, False], ids=["client.post", "client.api.post"])
async def test_a_post(server: ScriptedServer, connect: Connect, of_the_client: bool) -> None:
    client = await connect()
    post = client.post if of_the_client else client.api.post
    server.answer(503, {"code": "store_unavailable"}, Retry_After="0")
    server.answer(201, message(1, channel=GROUP))
    sent = await post(channel=GROUP, content="hi", client_id="mine", metadata={"a": 1})
    assert (sent.id, sent.client_id) == (message_id(1), "mine")
    first, again = [json.loads(await request.read()) for request in server.requests]
    assert first == again
    assert first == {
        "channel": GROUP, "content": "hi", "client_id": "mine", "metadata": {"a": 1}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"content": "hi"}, ValueError, "participants or channel must be given"),
        ({"content": "hi", "channel": "a,b", "participants": ["a", "b"]}, ValueError, "not both"),
        ({"channel": "a,b"}, TypeError, "content must be given"),
        ({"content": "hi", "participants": ["a", "\ud800"]}, ValueError, "surrogates"),
        ({"content": "hi", "channel": "\ud800"}, ValueError, "surrogates"),
    ],
)
async def test_what_cannot_be_sent_is_an_error_at_once(
    server: ScriptedServer,
    connect: Connect,
    given: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    client = await connect()
    for send in (client.send, client.post, ChatApi(server.url, "t").post):
        with pytest.raises(error, match=text):
            await send(**given)
    assert (client.unsent, server.requests) == (0, [])
