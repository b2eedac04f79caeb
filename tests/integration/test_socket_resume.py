"""Coming back over real sockets: nothing twice, nothing missing, or a gap that says so."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from chatsvc_conformance.framing import client_frame
from testkit.raw_socket import RawSocket
from testkit.talking import SOON, Talk, bearer, talk
from tests.integration.conftest import Serve


async def say_many(url: str, sender: str, to: str, count: int, size: int = 1) -> list[str]:
    """Ids of messages sent one behind the other."""
    async with talk(url, sender) as one:
        for at in range(count):
            frame = {"type": "send", "ref": str(at), "participants": [sender, to]}
            await one.put(frame | {"content": str(at) + "x" * size})
        return [ack["id"] for ack in await one.take(count, "ack")]


async def caught_up(one: Talk) -> tuple[list[str], dict[str, Any]]:
    """Ids of what is replayed, and the frame that ends it."""
    found: list[str] = []
    while (frame := await one.next())["type"] == "message":
        found.append(frame["id"])
    return found, frame


async def test_since_brings_what_was_missed_then_caught_up_then_live(url: str) -> None:
    async with talk(url, "bob1") as bob:
        cursor, epoch = bob.hello["cursor"], bob.hello["epoch"]
    missed = await say_many(url, "alice1", "bob1", 250)
    async with talk(url, "bob1", since=cursor) as bob:
        assert bob.hello["recovered"] is True
        assert bob.hello["cursor"] == cursor
        ids, end = await caught_up(bob)
        assert ids == missed
        assert end["type"] == "caught_up"
        assert end["cursor"] >= f"{epoch}.{missed[-1]}"
        (live,) = await say_many(url, "alice1", "bob1", 1)
        assert (await bob.take(1))[0]["id"] == live


async def test_a_cursor_may_be_composed_from_the_last_message(url: str) -> None:
    async with talk(url, "bob2") as bob:
        epoch = bob.hello["epoch"]
        sent = await say_many(url, "alice2", "bob2", 10)
        assert [one["id"] for one in await bob.take(10)] == sent
    async with talk(url, "bob2", since=f"{epoch}.{sent[3]}") as bob:
        ids, end = await caught_up(bob)
    assert ids == sent[4:]
    async with talk(url, "bob2", since=end["cursor"]) as bob:
        assert (await caught_up(bob))[0] == []


async def test_long_messages_are_replayed_as_they_are_read(url: str) -> None:
    async with talk(url, "bob3") as bob:
        cursor = bob.hello["cursor"]
    sent = await say_many(url, "alice3", "bob3", 300, size=15_000)
    async with talk(url, "bob3", since=cursor) as bob:
        ids, end = await caught_up(bob)
    assert ids == sent, "4.5 MB, of which a socket may hold one unsent"
    assert end["type"] == "caught_up"


@pytest.mark.parametrize("since", ["rubbish", "", "another.00000000000000ff", "."])
async def test_an_unreadable_cursor_is_a_gap_and_never_a_refusal(url: str, since: str) -> None:
    async with talk(url, "bob4", since=since) as bob:
        assert bob.hello["recovered"] is False
        gap = await bob.next()
        assert gap["type"] == "gap"
        assert gap["from"] == "0" * 16, "nothing is known of what was before this log"
        end = await bob.next()
        assert end["type"] == "caught_up"
        assert bob.hello["cursor"] == f"{bob.hello['epoch']}.{gap['to']}"


async def test_the_gap_is_a_range_to_fetch(serve: Serve) -> None:
    _, url = serve(RESUME_MAX="50")
    async with talk(url, "bob") as bob:
        cursor = bob.hello["cursor"]
    sent = await say_many(url, "alice", "bob", 51)
    async with talk(url, "bob", since=cursor) as bob:
        assert bob.hello["recovered"] is False
        gap, end = await bob.next(), await bob.next()
        assert (gap["type"], end["type"]) == ("gap", "caught_up")
        (live,) = await say_many(url, "alice", "bob", 1)
        assert (await bob.take(1))[0]["id"] == live
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            url + "/api/messages", params={"after": gap["from"]}, headers=bearer("bob")
        ) as answer,
    ):
        fetched = [one["id"] for one in (await answer.json())["messages"]]
    assert [one for one in fetched if one <= gap["to"]] == sent
    async with talk(url, "bob", since=f"{bob.hello['epoch']}.{sent[0]}") as bob:
        assert bob.hello["recovered"] is False, "51 again, with the one that came since"
    async with talk(url, "bob", since=f"{bob.hello['epoch']}.{sent[1]}") as bob:
        assert bob.hello["recovered"] is True
        assert (await caught_up(bob))[0] == [*sent[2:], live]


async def test_echo_is_replayed_whatever_device_it_came_from(url: str) -> None:
    """A second tab of the same name may be the one that sent it."""
    async with talk(url, "ann5") as one:
        cursor = one.hello["cursor"]
    async with talk(url, "ann5", device="phone") as phone:
        mine = await phone.say("ben5", content="from the phone")
    for device in ("laptop", "phone"):
        async with talk(url, "ann5", since=cursor, echo="true", device=device) as one:
            assert (await caught_up(one))[0] == [mine["id"]]
    async with talk(url, "ann5", since=cursor, device="laptop") as laptop:
        assert (await caught_up(laptop))[0] == []


async def test_over_a_restart_the_epoch_goes_on(serve: Serve) -> None:
    process, url = serve()
    async with talk(url, "bob") as bob:
        cursor, epoch = bob.hello["cursor"], bob.hello["epoch"]
    before = await say_many(url, "alice", "bob", 30)
    process.kill()
    process, url = serve()
    after = await say_many(url, "alice", "bob", 10)
    async with talk(url, "bob", since=cursor) as bob:
        assert (bob.hello["epoch"], bob.hello["recovered"]) == (epoch, True)
        assert (await caught_up(bob))[0] == before + after


async def test_from_the_store_where_memory_is_over(serve: Serve) -> None:
    _, url = serve(RECENT_BYTES="1MiB")
    async with talk(url, "bob") as bob:
        cursor = bob.hello["cursor"]
    sent = await say_many(url, "alice", "bob", 600, size=10_000)
    async with asyncio.timeout(SOON), aiohttp.ClientSession() as session:
        stored = False
        while not stored:
            async with session.get(
                f"{url}/api/messages/{sent[-1]}", headers=bearer("bob")
            ) as answer:
                stored = (await answer.json())["state"] == "stored"
    late = await say_many(url, "alice", "bob", 3)
    async with talk(url, "bob", since=cursor) as bob:
        assert bob.hello["recovered"] is True
        assert (await caught_up(bob))[0] == sent + late


async def test_the_position_moves_with_the_heartbeat_though_nothing_came(serve: Serve) -> None:
    _, url = serve(HEARTBEAT_SECONDS="1")
    async with talk(url, "dora") as dora:
        assert "cursor" not in {frame["type"] for frame in await dora.ping()}
        sent = await say_many(url, "alice", "bob", 3)
        moved = await dora.next()
        while moved["cursor"] < f"{dora.hello['epoch']}.{sent[-1]}":
            moved = await dora.next()
        assert moved == {"type": "cursor", "cursor": f"{dora.hello['epoch']}.{sent[-1]}"}
    async with talk(url, "dora", since=moved["cursor"]) as dora:
        assert dora.hello["recovered"] is True


async def test_messages_that_come_during_the_replay_come_once_behind_it(url: str) -> None:
    async with talk(url, "bob6") as bob:
        cursor = bob.hello["cursor"]
    sent = await say_many(url, "alice6", "bob6", 400, size=2_000)
    raw = await RawSocket.upgraded(url, "bob6", path=f"/ws?since={cursor}")
    sent += await say_many(url, "alice6", "bob6", 400, size=2_000)
    assert (await raw.json())["type"] == "hello"
    ids: list[str] = []
    ended = 0
    while len(ids) < 800:
        frame = await raw.json()
        if frame["type"] == "message":
            ids.append(frame["id"])
        else:
            assert frame["type"] in ("caught_up", "cursor")
            ended += frame["type"] == "caught_up"
    assert ids == sent
    raw.write(client_frame(1, b'{"type":"ping"}'))
    while (frame := await raw.json())["type"] != "pong":
        assert frame["type"] in ("caught_up", "cursor")
        ended += frame["type"] == "caught_up"
    assert ended == 1
    await raw.end()
