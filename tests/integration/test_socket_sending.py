"""Sends over sockets: delivery, acknowledgements, retries, echo, fragments and bounds."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import aiohttp
import pytest

from chatsvc_conformance.framing import client_frame
from testkit.raw_socket import RawSocket
from testkit.talking import Talk, bearer, talk
from tests.integration.support.histories import history


async def test_it_reaches_everybody_but_the_sender(url: str, names: tuple[str, str, str]) -> None:
    alice, bob, carol = names
    async with (
        talk(url, alice) as a1,
        talk(url, alice) as a2,
        talk(url, bob) as b1,
        talk(url, bob) as b2,
        talk(url, carol) as c,
    ):
        ack = await a1.say(bob, content="hi")
        assert ack.keys() == {"type", "ref", "id", "created_at"}
        messages = [(await one.take(1))[0] for one in (b1, b2)]
        assert messages[0] == messages[1]
        message = messages[0]
        assert (message["id"], message["created_at"]) == (ack["id"], ack["created_at"])
        assert (message["type"], message["sender"], message["content"]) == ("message", alice, "hi")
        assert message["participants"] == [alice, bob]
        assert message["channel"] == f"{alice},{bob}"
        for one in (a1, a2, c):
            assert await one.ping() == []
    assert await history(url, bob, bob, alice) == [message]


async def test_http_and_socket_are_one_stream(url: str, names: tuple[str, str, str]) -> None:
    alice, bob, _ = names
    async with talk(url, alice) as a, talk(url, bob) as b, aiohttp.ClientSession() as session:
        body = {"participants": [alice, bob], "content": "by http", "metadata": {"k": [1, None]}}
        async with session.post(url + "/api/messages", json=body, headers=bearer(alice)) as answer:
            assert answer.status == 201
            accepted = await answer.json()
        await a.say(bob, content="by socket")
        first, second = await b.take(2)
    assert first == accepted
    assert second["content"] == "by socket"
    assert await history(url, alice, alice, bob) == [first, second]


async def test_pipelined_sends_are_acknowledged_in_order(
    url: str, names: tuple[str, str, str]
) -> None:
    alice, bob, _ = names
    async with talk(url, alice) as a, talk(url, bob) as b:
        for at in range(500):
            await a.put(
                {"type": "send", "ref": str(at), "participants": [alice, bob], "content": str(at)}
            )
        acks = await a.take(500, "ack")
        messages = await b.take(500)
    assert [ack["ref"] for ack in acks] == [str(at) for at in range(500)]
    ids = [ack["id"] for ack in acks]
    assert ids == sorted(set(ids))
    assert [(one["id"], one["content"]) for one in messages] == list(
        zip(ids, map(str, range(500)), strict=True)
    )


async def test_a_burst_in_one_segment_keeps_its_order(
    url: str, names: tuple[str, str, str]
) -> None:
    alice, bob, _ = names
    frames = b"".join(
        client_frame(
            1,
            json.dumps(
                {"type": "send", "ref": str(at), "participants": [alice, bob], "content": "x"}
            ).encode(),
        )
        for at in range(300)
    )
    raw = await RawSocket.upgraded(url, alice, frames)
    assert (await raw.json())["type"] == "hello"
    acks = [await raw.json() for _ in range(300)]
    assert [ack["ref"] for ack in acks] == [str(at) for at in range(300)]
    assert [ack["id"] for ack in acks] == sorted(ack["id"] for ack in acks)
    await raw.end()


async def test_a_key_that_must_be_looked_up_does_not_let_others_overtake(
    url: str, names: tuple[str, str, str]
) -> None:
    """A UUIDv7 of long ago is looked up in the store first; sends behind it wait."""
    alice, bob, _ = names
    old = str(uuid.UUID(int=(1_600_000_000_000 << 80) | (7 << 76) | (0b10 << 62) | 9))
    async with talk(url, alice) as a, talk(url, bob) as b:
        for at in range(20):
            key = {"client_id": old[:-2] + f"{at:02x}"} if at % 3 == 0 else {}
            await a.put(
                {
                    "type": "send",
                    "ref": str(at),
                    "participants": [alice, bob],
                    "content": str(at),
                    **key,
                }
            )
        acks = await a.take(20, "ack")
        assert [ack["ref"] for ack in acks] == [str(at) for at in range(20)]
        assert [ack["id"] for ack in acks] == sorted(ack["id"] for ack in acks)
        assert [one["content"] for one in await b.take(20)] == [str(at) for at in range(20)]


async def test_a_retry_is_the_same_message(url: str, names: tuple[str, str, str]) -> None:
    alice, bob, _ = names
    async with talk(url, alice) as a, talk(url, alice) as other, talk(url, bob) as b:
        copies = [
            {
                "type": "send",
                "ref": str(at),
                "participants": [alice, bob],
                "content": "x",
                "client_id": "k",
            }
            for at in range(5)
        ]
        for copy in copies:
            await a.put(copy)
        acks = await a.take(5, "ack")
        assert len({ack["id"] for ack in acks}) == 1
        assert [ack.get("duplicate", False) for ack in acks] == [False, True, True, True, True]
        again = await other.say(bob, content="x", client_id="k")
        assert (again["id"], again["duplicate"]) == (acks[0]["id"], True)
        conflict = await other.say(bob, content="y", client_id="k")
        assert (conflict["type"], conflict["code"]) == ("error", "client_id_conflict")
        assert conflict["id"] == acks[0]["id"]
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                url + "/api/messages",
                json={"participants": [bob, alice], "content": "x"},
                headers=bearer(alice) | {"Idempotency-Key": "k"},
            ) as answer,
        ):
            assert answer.status == 200
            assert answer.headers["Idempotent-Replayed"] == "true"
            assert (await answer.json())["id"] == acks[0]["id"]
        await a.say(bob, content="end")
        assert [one["content"] for one in await b.take(2)] == ["x", "end"]


async def test_two_tabs_of_one_device_hear_one_another(
    url: str, names: tuple[str, str, str]
) -> None:
    """Echo is kept from the connection that sent, not from all that bear its device's name."""
    alice, bob, _ = names
    async with (
        talk(url, alice, echo="true", device="web") as first,
        talk(url, alice, echo="true", device="web") as second,
        talk(url, alice, echo="true") as nameless,
        talk(url, alice, echo="true") as nameless2,
    ):
        sent = [(first, "one"), (second, "two"), (nameless, "three")]
        frames: dict[Talk, list[dict[str, Any]]] = {first: [], second: [], nameless: []}
        for one, content in sent:
            await one.put({"type": "send", "participants": [alice, bob], "content": content})
            while not any(frame["type"] == "ack" for frame in frames[one]):
                frames[one].append(await one.next())

        async def contents(one: Talk) -> list[str]:
            found = frames.get(one, []) + await one.ping()
            return [frame["content"] for frame in found if frame["type"] == "message"]

        assert await contents(first) == ["two", "three"]
        assert await contents(second) == ["one", "three"]
        assert await contents(nameless) == ["one", "two"]
        assert await contents(nameless2) == ["one", "two", "three"]


async def test_echo_goes_by_device(url: str, names: tuple[str, str, str]) -> None:
    alice, bob, _ = names
    async with (
        talk(url, alice, echo="true", device="phone") as phone,
        talk(url, alice, echo="true", device="laptop") as laptop,
        talk(url, alice, echo="true", device="laptop") as laptop2,
        talk(url, alice) as plain,
        talk(url, bob, echo="true") as b,
        aiohttp.ClientSession() as session,
    ):
        await phone.say(bob, content="from the phone")
        async with session.post(
            url + "/api/messages",
            json={"participants": [alice, bob], "content": "from the laptop"},
            headers=bearer(alice) | {"Chatsvc-Device": "laptop"},
        ) as answer:
            assert answer.status == 201
        await plain.say(bob, content="from elsewhere")

        async def contents(one: Talk) -> list[str]:
            return [frame["content"] for frame in await one.ping()]

        everything = ["from the phone", "from the laptop", "from elsewhere"]
        assert [one["content"] for one in await b.take(3)] == everything
        assert await contents(phone) == everything[1:]
        assert await contents(laptop) == [everything[0], everything[2]]
        assert await contents(laptop2) == [everything[0], everything[2]]
        assert await contents(plain) == []


async def test_fragments_with_a_ping_between(url: str, names: tuple[str, str, str]) -> None:
    text = '{"type":"ping","ref":"größe"}'.encode()
    raw = await RawSocket.upgraded(url, names[0])
    assert (await raw.json())["type"] == "hello"
    cut = text.index("ö".encode()) + 1
    raw.write(
        client_frame(1, text[:cut], fin=False)
        + client_frame(9, b"beat")
        + client_frame(0, text[cut:])
    )
    pong = await raw.frame()
    assert (pong.opcode, pong.payload) == (10, b"beat")
    assert await raw.json() == {"type": "pong", "ref": "größe"}
    whole = client_frame(1, text)
    for at in range(len(whole)):
        raw.write(whole[at : at + 1])
        await asyncio.sleep(0)
    assert await raw.json() == {"type": "pong", "ref": "größe"}
    await raw.end()


@pytest.mark.parametrize("filler", ["x", "\U0001f600"], ids=["1 byte each", "4 bytes each"])
async def test_a_conversation_at_every_bound_at_once(url: str, filler: str) -> None:
    people = sorted(f"{at:03}" + filler * 125 for at in range(256))
    content = "\u4e16" * 16_000
    metadata = {"k": "x" * (4096 - len('{"k":""}'))}
    sender, reader = people[0], people[255]
    async with talk(url, sender) as a, talk(url, reader) as b:
        cursor = b.hello["cursor"]
        acks = []
        for _ in range(8):
            ack = await a.say(*people[1:], content=content, metadata=metadata)
            assert ack["type"] == "ack", ack
            acks.append(ack["id"])
            (message,) = await b.take(1)
            assert (message["id"], message["content"]) == (ack["id"], content)
            assert (message["participants"], message["metadata"]) == (people, metadata)
    assert message["channel"].startswith(",sha256:")
    async with talk(url, reader, since=cursor) as b:
        assert b.hello["recovered"] is True
        assert [one["id"] for one in await b.take(8)] == acks
        assert (await b.next())["type"] == "caught_up"
    queries = [{"channel": message["channel"]}]
    if filler == "x":  # percent-encoded, the others are beyond a request line
        queries.append({"participants": ",".join(people)})
    async with aiohttp.ClientSession() as session:
        for query in queries:
            async with session.get(
                url + "/api/messages", params=query | {"limit": "1"}, headers=bearer(reader)
            ) as answer:
                assert answer.status == 200
                assert (await answer.json())["messages"] == [message]
