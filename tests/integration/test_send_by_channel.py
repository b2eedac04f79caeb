"""Sending by a conversation's key, over HTTP and the socket, across a restart."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from chatsvc.client import ChatClient, MessageReceived, SendRefused
from chatsvc.core.participants import channel_key
from testkit.client_events import soon
from testkit.talking import bearer, talk, token
from tests.integration.conftest import Serve

PEOPLE = [f"{name}-of-a-conversation-with-a-long-key" for name in "abcdefgh"]
KEY = channel_key(PEOPLE)
UNKNOWN = ",sha256:" + "0" * 64


async def post(url: str, user: str, **body: Any) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/messages", json=body, headers=bearer(user)) as answer,
    ):
        return answer.status, await answer.json()


async def push_out(url: str) -> None:
    """More than the log's recent end holds in memory, so that the store has to be asked."""
    for number in range(100):
        await post(url, "alice", participants=["alice"], content=f"{number:03d}" + "x" * 15_000)


async def test_it_is_the_conversation_that_the_key_is_of(serve: Serve) -> None:
    process, url = serve(RECENT_BYTES="1MiB")
    status, first = await post(url, PEOPLE[0], participants=PEOPLE, content="first")
    assert (status, first["channel"]) == (201, KEY)
    async with talk(url, PEOPLE[1]) as listener:
        status, sent = await post(url, PEOPLE[2], channel=KEY, content="by its key")
        assert (status, sent["participants"], sent["channel"]) == (201, PEOPLE, KEY)
        assert await listener.take(1) == [sent]
    status, named = await post(url, "alice", channel="alice,bob", content="by its names")
    assert (status, named["participants"]) == (201, ["alice", "bob"])

    # Pushed out of the log's recent end, or gone with the process, it is in the store.
    await push_out(url)
    assert process.stop() == 0
    _, url = serve(RECENT_BYTES="1MiB")
    status, sent = await post(url, PEOPLE[3], channel=KEY, content="after a restart")
    assert (status, sent["participants"]) == (201, PEOPLE)


async def test_sends_of_a_socket_keep_their_order_while_a_key_is_looked_up(serve: Serve) -> None:
    process, url = serve(RECENT_BYTES="1MiB")
    await post(url, PEOPLE[0], participants=PEOPLE, content="first")
    await push_out(url)
    assert process.stop() == 0
    _, url = serve(RECENT_BYTES="1MiB")
    async with talk(url, PEOPLE[0]) as one:
        for number in range(40):
            names = {"participants": [PEOPLE[0]]} if number % 2 else {"channel": KEY}
            frame = {"type": "send", "ref": f"{number}", "content": f"{number}", **names}
            await one.put(frame)
        acks = await one.take(40, "ack")
    assert [ack["ref"] for ack in acks] == [f"{number}" for number in range(40)]
    ids = [ack["id"] for ack in acks]
    assert ids == sorted(set(ids))


async def test_a_key_of_others_and_one_of_nobody_are_refused_alike(serve: Serve) -> None:
    _, url = serve()
    await post(url, PEOPLE[0], participants=PEOPLE, content="first")
    told = []
    for channel in (KEY, UNKNOWN, "alice,bob"):
        status, problem = await post(url, "eve", channel=channel, content="x")
        assert status == 403
        problem.pop("request_id")
        told.append(problem)
    assert told[0] == told[1] == told[2]
    async with talk(url, "eve") as eve:
        frames = []
        for ref, channel in (("1", KEY), ("2", UNKNOWN), ("3", "alice,bob")):
            await eve.put({"type": "send", "ref": ref, "channel": channel, "content": "x"})
            frames.append(await eve.next("cursor"))
        assert [frame.pop("ref") for frame in frames] == ["1", "2", "3"]
        assert frames[0] == frames[1] == frames[2]
        assert (frames[0]["code"], frames[0]["pointer"]) == ("not_a_participant", "/channel")
    status, page = await post(url, PEOPLE[0], channel=KEY, participants=PEOPLE, content="x")
    assert (status, page["errors"][0]["pointer"]) == (422, "/channel")


async def test_the_python_client_answers_where_a_message_came_from(serve: Serve) -> None:
    _, url = serve()
    async with (
        ChatClient(url, token(PEOPLE[0])) as one,
        ChatClient(url, token(PEOPLE[1])) as other,
        ChatClient(url, token("eve")) as eve,
    ):
        await other.wait_connected()
        await one.wait_connected()
        await one.send(PEOPLE, "who is there?")
        asked = await soon(other, MessageReceived)
        assert asked.channel == KEY
        await other.send(channel=asked.channel, content="I am")
        answer = await soon(one, MessageReceived)
        sent = await one.post(channel=answer.channel, content="good", client_id="good")
        again = await one.send(channel=answer.channel, content="good", client_id="good")
        assert (again.id, again.duplicate) == (sent.id, True)
        page = await other.history(channel=KEY)
        assert [message.content for message in page.messages] == ["who is there?", "I am", "good"]
        assert page.messages[-1].participants == tuple(PEOPLE)
        with pytest.raises(SendRefused) as caught:
            await eve.send(channel=KEY, content="me too")
        assert caught.value.code == "not_a_participant"
