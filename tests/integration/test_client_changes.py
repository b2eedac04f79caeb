"""The Python client and records of other kinds, with a whole service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatsvc.client import CaughtUp, ChangeReceived, ChatClient, Gap, MessageReceived
from testkit.talking import SOON, token
from tests.integration.support.reactions import ReactingService


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


async def received(client: ChatClient, last: str | type) -> list[str]:
    """Contents of messages and kinds of changes, up to one message or an event of a type."""
    found: list[str] = []
    async with asyncio.timeout(SOON):
        async for event in client:
            assert not isinstance(event, Gap), event
            if isinstance(event, MessageReceived):
                found.append(event.content)
            elif isinstance(event, ChangeReceived):
                found.append(event.kind)
            if found[-1:] == [last] or (isinstance(last, type) and isinstance(event, last)):
                break
    return found


async def story(service: ReactingService, count: int) -> list[str]:
    """So many messages, each with a reaction of either behind it; what the other is to get."""
    expected: list[str] = []
    accepted = []
    for number in range(count):
        accepted += [service.say(f"number {number}"), service.react(), service.react("bob")]
        expected += [f"number {number}", "reaction", "reaction"]
    await asyncio.gather(*accepted)
    return expected


async def test_all_records_live_and_by_a_resume(service: ReactingService) -> None:
    async with ChatClient(service.url, token("bob"), kinds="all") as bob:
        await bob.wait_connected()
        expected = await story(service, 4)
        await service.say("end")
        assert await received(bob, "end") == [*expected, "end"]
    expected = await story(service, 4)
    async with ChatClient(service.url, token("bob"), kinds=None, since=bob.cursor) as again:
        assert (await again.wait_connected()).recovered
        assert await received(again, CaughtUp) == expected
    assert [path for _, path in service.requests if path.startswith("/api")] == []


async def test_a_gap_is_filled_with_records_in_order(service: ReactingService) -> None:
    async with ChatClient(service.url, token("bob")) as bob:
        since = (await bob.wait_connected()).cursor
    expected = await story(service, 400)
    async with ChatClient(service.url, token("bob"), kinds="all", since=since) as bob:
        assert (await bob.wait_connected()).recovered is False
        assert await received(bob, CaughtUp) == expected
        page = await bob.changes(after=since.rpartition(".")[2], limit=3, channel="alice,bob")
        assert [getattr(one, "kind", "message") for one in page.frames] == [
            "message", "reaction", "reaction",
        ]  # fmt: skip
        assert page.frames[0].raw in (await bob.history(limit=1000)).messages[0].raw
    assert service.requests.count(("GET", "/api/changes")) == 4
    assert service.handshakes() == 2


async def test_some_kinds_are_chosen_and_the_others_make_no_gap(service: ReactingService) -> None:
    async with ChatClient(service.url, token("bob")) as bob:
        since = (await bob.wait_connected()).cursor
    await story(service, 15)
    for kinds, expected in (
        (["reaction"], ["reaction"] * 30),
        (["message", "of_a_newer_server"], [f"number {n}" for n in range(15)]),
        (["of_a_newer_server"], []),
    ):
        async with ChatClient(service.url, token("bob"), kinds=kinds, since=since) as bob:
            hello = await bob.wait_connected()
            assert hello.recovered is (len(expected) <= 20)
            assert await received(bob, CaughtUp) == expected
