"""The end of a service, and who may follow it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from pathlib import Path

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from chatsvc_conformance.framing import CLOSE, client_frame
from testkit.process import command
from testkit.raw_socket import RawSocket
from testkit.talking import SETTINGS, SOON, bearer, talk
from tests.integration.conftest import Serve


async def test_sigterm_sends_sockets_away_takes_sends_meanwhile_and_exits_0(
    serve: Serve,
) -> None:
    process, url = serve(SHUTDOWN_SECONDS="8")
    stubborn = await RawSocket.upgraded(url, "carol")  # will not answer the close
    assert (await stubborn.json())["type"] == "hello"
    async with (
        aiohttp.ClientSession() as session,
        talk(url, "alice") as alice,
        talk(url, "bob", browser=True) as bob,
    ):
        stopping = asyncio.create_task(asyncio.to_thread(process.stop, signal.SIGTERM))
        closing = await stubborn.frame()
        assert (closing.opcode, closing.close_code) == (CLOSE, 1012)
        async with session.get(url + "/health/ready") as answer:
            assert answer.status == 503, "unready at once"
        async with session.post(
            url + "/api/messages",
            json={"participants": ["alice", "bob"], "content": "in the last moment"},
            headers=bearer("alice"),
        ) as answer:
            assert answer.status == 201, "sends are taken while sockets are sent away"
            last = await answer.json()
        async with session.get(url + "/ws", headers={**bearer("dan"), **HANDSHAKE}) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1
        for one in (alice, bob):
            code, reason = await one.closed()
            assert code == 1012
            assert re.fullmatch(r"restart;retry_after_ms=\d+", reason)
        assert await asyncio.wait_for(stopping, 30) == 0
    await stubborn.end()
    _, url = serve()
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            url + "/api/messages/get?participants=alice,bob", headers=bearer("bob")
        ) as answer,
    ):
        assert (await answer.json())["messages"] == [last]


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_with_nobody_there_it_ends_quickly(serve: Serve, number: int) -> None:
    process, _ = serve(SHUTDOWN_SECONDS="60")
    assert await asyncio.wait_for(asyncio.to_thread(process.stop, number), SOON) == 0


async def test_acknowledged_is_kept_over_a_stop_in_the_middle_of_a_burst(serve: Serve) -> None:
    process, url = serve()
    acked: list[str] = []
    async with talk(url, "alice") as alice:
        for at in range(2000):
            frame = {"type": "send", "ref": str(at), "participants": ["alice", "bob"]}
            await alice.put(frame | {"content": str(at)})
        stopping = asyncio.create_task(asyncio.to_thread(process.stop, signal.SIGTERM))
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await alice.next()
                if frame["type"] == "ack":
                    acked.append(frame["id"])
        assert await stopping == 0
    _, url = serve()
    found: list[str] = []
    async with aiohttp.ClientSession() as session:
        after = "0" * 16
        more = True
        while more:
            async with session.get(
                url + "/api/messages/get",
                params={"participants": "alice,bob", "after": after, "limit": "1000"},
                headers=bearer("bob"),
            ) as answer:
                page = await answer.json()
            found += [one["id"] for one in page["messages"]]
            more, after = page["has_more"], page["after"]
    assert acked
    assert set(acked) <= set(found)
    assert len(found) == len(set(found))


async def test_nothing_follows_the_close(serve: Serve) -> None:
    process, url = serve()
    raw = await RawSocket.upgraded(url, "alice")
    assert (await raw.json())["type"] == "hello"
    stopping = asyncio.create_task(asyncio.to_thread(process.stop, signal.SIGTERM))
    closing = await raw.frame()
    assert (closing.opcode, closing.close_code) == (CLOSE, 1012)
    raw.write(client_frame(CLOSE, closing.payload[:2]))
    assert await raw.rest() == [], "nothing after the close"
    assert await stopping == 0
    await raw.end()


def test_two_on_one_folder_the_second_ends_with_2_and_names_the_first(
    serve: Serve, tmp_path: Path
) -> None:
    process, _ = serve()
    second = command(tmp_path, "serve", **SETTINGS)
    assert second.returncode == 2
    assert f"in use by process {process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert process.stop() == 0
