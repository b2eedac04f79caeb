"""Readers that are slow, stuck or gone: nobody else waits for them, and who reads is not cut."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import aiohttp
import pytest

from chatsvc_conformance.framing import PING, client_frame
from testkit.process import Process
from testkit.raw_socket import RawSocket, opening
from testkit.talking import SOON, Talk, log_lines, talk
from testkit.waiting import until
from tests.integration.conftest import Serve


async def stuck(url: str, user: str) -> RawSocket:
    """A client with a small window that reads its hello and nothing more."""
    raw = await RawSocket.with_small_window(url, opening(user))
    assert (await raw.head()).startswith("HTTP/1.1 101 ")
    assert (await raw.json())["type"] == "hello"
    return raw


async def pour(sender: Talk, to: str, count: int, size: int) -> list[str]:
    """Send so many messages; their ids."""
    ids = []
    for at in range(count):
        ack = await sender.say(to, content=f"{at} " + "x" * size)
        assert ack["type"] == "ack", ack
        ids.append(ack["id"])
    return ids


def reasons(process: Process, user: str) -> list[str]:
    lines = log_lines(process, "disconnect")
    return [line["reason"] for line in lines if line["user"] == user]


async def metric(url: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
        found = re.search(rf"^chatsvc_{name} (\S+)$", await answer.text(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


async def test_a_reader_beyond_its_bound_is_not_cut_and_gets_it_all(serve: Serve) -> None:
    """What it has no room for waits in the log, and it is counted as connected meanwhile."""
    process, url = serve(SOCKET_STALL_SECONDS="60", SOCKET_BUFFER_BYTES="256KiB")
    async with talk(url, "alice") as alice, talk(url, "bob") as quick:
        slow = await stuck(url, "bob")
        ids = await pour(alice, "bob", 60, 15_000)
        assert [one["id"] for one in await quick.take(60)] == ids
        assert await metric(url, "sockets_fell_behind_total") == 1
        slow.write(client_frame(1, b'{"type":"ping","ref":"here"}'))
        ids += await pour(alice, "bob", 3, 10)
        assert [one["id"] for one in await quick.take(3)] == ids[60:]
        async with (
            aiohttp.ClientSession() as session,
            session.post(url + "/api/connections", json={"users": ["bob"]}) as answer,
        ):
            assert await answer.json() == {"connections": {"bob": 2}}
        found, pongs = [], 0
        while len(found) < 63:
            frame = await slow.json()
            found += [frame["id"]] if frame["type"] == "message" else []
            pongs += frame["type"] == "pong"
        assert (found, pongs) == (ids, 1)
        ids += await pour(alice, "bob", 1, 10)
        assert (await slow.json())["id"] == ids[-1], "live again"
        assert reasons(process, "bob") == [], "nobody was cut"
    await slow.end()


@pytest.mark.parametrize(
    ("senders", "bursts", "count", "content"),
    [
        pytest.param(1, 1, 16, "\x01" * 15_990, id="16 of 96 KB in one commit"),
        pytest.param(5, 1, 11, "\x01" * 15_990, id="5 MB from five senders"),
        pytest.param(4, 3, 64, "x" * 15_000, id="4 times 64 of 15 KB"),
    ],
)
async def test_a_burst_does_not_cut_who_reads(
    serve: Serve, senders: int, bursts: int, count: int, content: str
) -> None:
    process, url = serve()
    async with contextlib.AsyncExitStack() as stack:
        reader = await stack.enter_async_context(talk(url, "bob"))
        many = [
            await stack.enter_async_context(talk(url, f"sender{number}"))
            for number in range(senders)
        ]

        async def send(one: Talk) -> list[str]:
            ids = []
            for _ in range(bursts):
                for _ in range(count):
                    frame = {"type": "send", "participants": [one.user, "bob"], "content": content}
                    await one.put(frame)
                ids += [ack["id"] for ack in await one.take(count, "ack")]
            return ids

        total = senders * bursts * count
        *sent, got = await asyncio.gather(*(send(one) for one in many), reader.take(total))
        assert [one["id"] for one in got] == sorted(message for ids in sent for message in ids)
        assert reasons(process, "bob") == []


async def test_a_reader_that_reads_nothing_is_cut_after_a_while(serve: Serve) -> None:
    process, url = serve(SOCKET_STALL_SECONDS="0.5", SOCKET_BUFFER_BYTES="64MiB")
    async with talk(url, "alice") as alice, talk(url, "bob") as quick:
        slow = await stuck(url, "bob")
        ids = await pour(alice, "bob", 40, 15_000)
        assert [one["id"] for one in await quick.take(40)] == ids
        await until(lambda: reasons(process, "bob") == ["stalled"])
        assert (await alice.say("bob"))["type"] == "ack"
        assert len(await quick.take(1)) == 1
    await slow.end()


async def test_a_reader_that_is_slow_but_reads_is_left_alone(serve: Serve) -> None:
    process, url = serve(SOCKET_STALL_SECONDS="3", SOCKET_BUFFER_BYTES="64MiB")
    async with talk(url, "alice") as alice:
        slow = await stuck(url, "bob")
        ids = await pour(alice, "bob", 40, 15_000)
        loop = asyncio.get_running_loop()
        until_then = loop.time() + 4
        found = []
        while len(found) < 40:
            frame = await slow.json()
            if frame["type"] == "message":  # the first heartbeat tells of the position too
                found.append(frame["id"])
            if loop.time() < until_then:
                await asyncio.sleep(0.1)
        assert found == ids
        assert reasons(process, "bob") == []
    await slow.end()


async def test_a_reader_that_is_very_slow_but_reads_is_left_alone(serve: Serve) -> None:
    """The kernel takes nothing more from the service for long, and yet gives some of it out."""
    process, url = serve(SOCKET_STALL_SECONDS="1")
    async with talk(url, "alice") as alice:
        slow = await stuck(url, "bob")
        ids = await pour(alice, "bob", 40, 15_000)
        await until_slow(url)
        for _ in range(30):
            await slow.skip(1024)
            await asyncio.sleep(0.1)
        assert reasons(process, "bob") == []
        assert len(ids) == 40
    await slow.end()


async def until_slow(url: str) -> None:
    async with asyncio.timeout(SOON):
        while not await metric(url, "sockets_slow"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def test_who_resumes_and_does_not_read_is_cut_too(serve: Serve) -> None:
    process, url = serve(SOCKET_STALL_SECONDS="0.5")
    async with talk(url, "alice") as alice, talk(url, "bob") as bob:
        cursor = bob.hello["cursor"]
        ids = await pour(alice, "bob", 100, 15_000)
        await bob.take(100)
    path = f"/ws?since={cursor}"
    unread = await RawSocket.with_small_window(url, opening("bob", path))
    await until(lambda: "stalled" in reasons(process, "bob"))
    await unread.end()
    async with talk(url, "bob", since=cursor) as back:
        assert [one["id"] for one in await back.take(100)] == ids


async def test_silence_for_two_heartbeats_is_4103(serve: Serve) -> None:
    process, url = serve(HEARTBEAT_SECONDS="1")
    async with talk(url, "ann") as lively:
        silent = await RawSocket.upgraded(url, "ann")
        assert (await silent.json())["type"] == "hello"
        assert (await silent.frame()).opcode == PING
        assert await silent.ended() == 4103
        assert await lively.ping() == [], "whose library answers pings"
    await until(lambda: "4103 heartbeat missed" in reasons(process, "ann"))
    await silent.end()


async def test_any_frame_is_a_sign_of_life(serve: Serve) -> None:
    _, url = serve(HEARTBEAT_SECONDS="1")
    raw = await RawSocket.upgraded(url, "ann")
    assert (await raw.json())["type"] == "hello"
    for _ in range(3):
        assert (await raw.frame()).opcode == PING
        raw.write(client_frame(10, b"unasked for"))
    raw.write(client_frame(1, b'{"type":"ping"}'))
    assert await raw.json() == {"type": "pong"}
    await raw.end()


async def test_clients_that_vanish_are_forgotten(serve: Serve) -> None:
    process, url = serve()
    for _ in range(10):
        raw = await RawSocket.upgraded(url, "gone")
        await raw.end()
    await until(lambda: len(reasons(process, "gone")) == 10)

    async def count() -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url + "/api/connections", json={"users": ["gone"]}) as answer,
        ):
            return await answer.json()

    assert await count() == {"connections": {"gone": 0}}


async def test_more_unacknowledged_sends_than_may_be_stop_the_reading_not_the_socket(
    serve: Serve,
) -> None:
    _, url = serve(SOCKET_UNACKED_MAX="2")
    async with talk(url, "alice") as alice:
        for at in range(300):
            frame = {"type": "send", "ref": str(at), "participants": ["alice"], "content": "x"}
            await alice.put(frame)
            if at % 50 == 0:
                await alice.ws.ping()
        acks = await alice.take(300, "ack")
    assert [ack["ref"] for ack in acks] == [str(at) for at in range(300)]


async def test_metrics_count_who_is_slow_and_why_they_went(serve: Serve) -> None:
    process, url = serve(SOCKET_STALL_SECONDS="1", SOCKET_BUFFER_BYTES="256KiB")
    async with talk(url, "alice") as alice:
        slow = await stuck(url, "bob")
        await pour(alice, "bob", 60, 15_000)
        await until(lambda: reasons(process, "bob") == ["stalled"])
        async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
            text = await answer.text()
    assert re.search(r'^chatsvc_disconnects_total\{\w+="stalled"\} 1\.0$', text, re.MULTILINE)
    assert re.search(r"^chatsvc_sockets_aborted_total 1\.0$", text, re.MULTILINE)
    assert re.search(r"^chatsvc_sockets_fell_behind_total 1\.0$", text, re.MULTILINE)
    await slow.end()
