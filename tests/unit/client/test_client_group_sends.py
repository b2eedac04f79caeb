"""Sends to the channel of a group: in order, again after a reconnect, and refused alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chatsvc.client import ApiError, ChangeReceived, MessageReceived, SendRefused
from testkit.client_events import soon
from testkit.scripted_server import ScriptedServer, change, message, message_id

Connect = Callable[..., Any]
GROUP = ",g:" + "6f" * 16
OTHER = ",g:" + "07" * 16
NO_MEMBER = {
    "type": "error",
    "code": "not_a_member",
    "detail": "the sender must be a member of the group",
    "pointer": "/channel",
}


async def test_sends_to_a_group_go_out_in_order_and_again_after_a_reconnect(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    sends = [
        asyncio.create_task(client.send(channel=GROUP, content=str(number))) for number in range(3)
    ]
    peer = await server.greet()
    first = [await peer.hear() for _ in range(3)]
    assert [(frame["channel"], frame["content"]) for frame in first] == [
        (GROUP, "0"),
        (GROUP, "1"),
        (GROUP, "2"),
    ]
    await peer.ack(1, first[0])
    await sends[0]
    peer.drop()
    peer = await server.greet()
    again = [await peer.hear() for _ in range(2)]
    assert again == first[1:]
    for number, frame in enumerate(again, 2):
        await peer.ack(number, frame, duplicate=True)
    assert [one.id for one in await asyncio.gather(*sends)] == [message_id(n) for n in (1, 2, 3)]
    assert client.unsent == 0


async def test_who_is_no_member_is_refused_and_the_other_sends_go_on(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    sends = [
        asyncio.create_task(client.send(channel=channel, content=content))
        for channel, content in ((GROUP, "before"), (OTHER, "no"), (GROUP, "after"))
    ]
    before, refused, after = [await peer.hear() for _ in range(3)]
    await peer.ack(1, before)
    await peer.say(NO_MEMBER | {"ref": refused["ref"]})
    await peer.ack(2, after)
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(results[1], SendRefused)
    assert results[1].code == "not_a_member"
    assert [one.id for one in (results[0], results[2])] == [message_id(1), message_id(2)]
    assert client.unsent == 0
    peer.drop()
    peer = await server.greet()  # nothing of it is repeated
    more = asyncio.create_task(client.send(channel=GROUP, content="more"))
    heard = await peer.hear()
    assert heard["content"] == "more"
    await peer.ack(3, heard)
    await more


async def test_a_post_to_a_group_that_is_refused_is_not_tried_again(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    server.answer(403, {"code": "not_a_member", "detail": "d"})
    with pytest.raises(ApiError) as caught:
        await client.post(channel=GROUP, content="x")
    assert (caught.value.code, caught.value.final) == ("not_a_member", True)
    assert len(server.requests) == 1


async def test_what_was_sent_to_a_group_is_no_event_and_its_changes_are(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(echo=True, kinds=["message", "group", "membership"])
    peer = await server.greet(features=["changes"])
    sending = asyncio.create_task(client.send(channel=GROUP, content="mine"))
    heard = await peer.hear()
    own = message(1, "mine", sender="alice", channel=GROUP, client_id=heard["client_id"])
    await peer.say(own | {"participants": []})
    await peer.ack(1, heard)
    await sending
    await peer.say(
        change(2, "membership", sender="alice", channel=GROUP, change="added", users=["bob"]),
        message(3, "yours", channel=GROUP, participants=[]),
    )
    event = await soon(client, ChangeReceived | MessageReceived)
    assert (event.kind, event.fields["users"]) == ("membership", ["bob"])
    event = await soon(client, MessageReceived)
    assert (event.content, event.channel, event.participants) == ("yours", GROUP, ())
