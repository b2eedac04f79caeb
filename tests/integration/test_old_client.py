"""A client of before other kinds of records, as it was released, with a server that has them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from testkit.talking import SOON, token
from testkit.waiting import until
from tests.integration.support.old_client.client import (
    Backoff,
    CaughtUp,
    ChatClient,
    Gap,
    MessageReceived,
)
from tests.integration.support.reactions import ReactingService

OLD_CLIENT = Path(__file__).parent / "support" / "old_client"
DIGEST = "8cb8a00fb3fc866d6384b5cc8bfae3f79ad798abd4050f4234f90bfd91794f3a"


@pytest.fixture
async def service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ReactingService]:
    """One that replays at most 20 records."""
    made = ReactingService(tmp_path, monkeypatch, RESUME_MAX="20")
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


Connect = Callable[..., Any]


@pytest.fixture
async def connect(service: ReactingService) -> AsyncIterator[Connect]:
    """Make an open client of a user."""
    async with AsyncExitStack() as stack:

        async def make(user: str, **more: Any) -> ChatClient:
            client = ChatClient(service.url, token(user), backoff=Backoff(0.01, 0.02), **more)
            await stack.enter_async_context(client)
            await asyncio.wait_for(client.wait_connected(), SOON)
            return client

        yield make


async def received(client: ChatClient, last: str | type) -> list[str]:
    """Contents up to one message, or up to an event of a type; nothing may be a gap."""
    found: list[str] = []
    async with asyncio.timeout(SOON):
        async for event in client:
            assert not isinstance(event, Gap), event
            if isinstance(event, MessageReceived):
                found.append(event.content)
            if found[-1:] == [last] or (isinstance(last, type) and isinstance(event, last)):
                break
    return found


async def position_of(service: ReactingService, user: str) -> str:
    """Where a client of the user stands that connects now, and leaves."""
    async with ChatClient(service.url, token(user)) as client:
        hello = await client.wait_connected()
    service.requests.clear()
    return hello.cursor


def test_the_client_is_the_one_that_was_released() -> None:
    """But for import paths. Nothing in it is to be fixed, formatted or brought up to date."""
    whole = hashlib.sha256()
    for path in sorted(OLD_CLIENT.rglob("*.py")):
        whole.update(path.relative_to(OLD_CLIENT).as_posix().encode() + path.read_bytes())
    assert whole.hexdigest() == DIGEST


async def test_it_sends_and_receives_beside_records_that_it_does_not_know(
    service: ReactingService, connect: Connect
) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    for number in range(5):
        await service.react("bob")
        sent = await alice.send(["alice", "bob"], f"from alice {number}")
        assert not sent.duplicate
        await service.react()
        await bob.send(["alice", "bob"], f"from bob {number}")
    assert await received(bob, "from alice 4") == [f"from alice {n}" for n in range(5)]
    assert await received(alice, "from bob 4") == [f"from bob {n}" for n in range(5)]
    assert (service.handshakes(), service.pages()) == (2, 0)
    page = await bob.history(["alice", "bob"])
    assert [one.content.split()[1] for one in page.messages] == ["alice", "bob"] * 5
    assert (page.has_more, page.complete) == (False, True)


async def test_it_resumes_over_them(service: ReactingService, connect: Connect) -> None:
    since = await position_of(service, "bob")
    for number in range(6):
        await service.react()
        await service.say(f"missed {number}")
        await service.react("bob")
    bob = await connect("bob", since=since)
    assert bob.hello.recovered
    assert await received(bob, CaughtUp) == [f"missed {n}" for n in range(6)]
    assert bob.cursor > since
    again = await connect("bob", since=bob.cursor)
    await service.say("live")
    assert await received(again, "live") == ["live"]
    assert await received(bob, "live") == ["live"]
    assert (service.handshakes(), service.pages()) == (2, 0)


@pytest.mark.parametrize("messages", [0, 1, 30, 700])
async def test_it_fills_the_gap_where_it_missed_more_than_is_replayed(
    service: ReactingService, connect: Connect, messages: int
) -> None:
    since = await position_of(service, "bob")
    accepted = []
    for number in range(max(messages, 40)):
        accepted.append(service.react())
        if number < messages:
            accepted.append(service.say(f"missed {number}"))
    await asyncio.gather(*accepted)
    bob = await connect("bob", since=since)
    assert bob.hello.recovered is False
    assert await received(bob, CaughtUp) == [f"missed {n}" for n in range(messages)]
    await service.react()
    await service.say("live")
    assert await received(bob, "live") == ["live"]
    assert service.handshakes() == 1
    assert 1 <= service.pages() <= 3
    again = await connect("bob", since=bob.cursor)
    assert await received(again, CaughtUp) == []
    assert again.hello.recovered, "what it passed over is not asked for again"


async def test_what_it_could_not_send_is_sent_once_after_a_restart(
    service: ReactingService, connect: Connect
) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    await alice.send(["alice", "bob"], "before")
    assert await received(bob, "before") == ["before"]
    for _ in range(25):
        await service.react()
    await service.stop()
    sends = [
        asyncio.create_task(alice.send(["alice", "bob"], f"kept {number}")) for number in range(10)
    ]
    await until(lambda: alice.unsent == 10 and not alice.connected, SOON)
    service.requests.clear()
    await service.start()
    for _ in range(25):
        await service.react("bob")
    async with asyncio.timeout(SOON):
        done = await asyncio.gather(*sends)
    assert [sent.duplicate for sent in done] == [False] * 10
    assert await received(bob, "kept 9") == [f"kept {n}" for n in range(10)]
    page = await bob.history(["alice", "bob"])
    assert [one.content for one in page.messages] == ["before"] + [f"kept {n}" for n in range(10)]
    assert service.handshakes() == 2, "each came back once"
    assert service.pages() <= 4
