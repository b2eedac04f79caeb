"""Rows of a projection by the public interface, over both stores: live, stored and built anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatsvc.core.record import Record
from chatsvc.storage.persister.batch_writer import BatchWriter
from testkit.talking import bearer
from tests.integration.support import reaction_rows
from tests.integration.support.reactions import ReactingService

CHANNEL = "alice,bob"
Call = Callable[..., Awaitable[Any]]


@pytest.fixture
async def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_settings: dict[str, str]
) -> AsyncIterator[Callable[..., ReactingService]]:
    made: list[ReactingService] = []

    def build(**more: str) -> ReactingService:
        made.append(ReactingService(tmp_path, monkeypatch, **store_settings, **more))
        return made[-1]

    yield build
    for service in made:
        await service.stop()


async def call(service: ReactingService, method: str, user: str, **given: Any) -> Any:
    place = {"json": given} if method == "POST" else {"params": given}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, f"{service.url}/api/reactions", headers=bearer(user), **place
        ) as answer,
    ):
        assert answer.status in {200, 201}, await answer.text()
        return await answer.json()


async def react(service: ReactingService, user: str, emoji: str, on: bool = True) -> str:
    done = await call(service, "POST", user, channel=CHANNEL, message="m1", emoji=emoji, on=on)
    return str(done["id"])


async def shown(service: ReactingService, **given: Any) -> Any:
    return await call(service, "GET", "alice", channel=CHANNEL, message="m1", **given)


def pairs(found: Any) -> list[tuple[str, str]]:
    return [(one["user"], one["emoji"]) for one in found["reactions"]]


async def test_a_reaction_is_read_at_once_and_after_it_is_stored(
    make: Callable[..., ReactingService], monkeypatch: pytest.MonkeyPatch
) -> None:
    storing, write = asyncio.Event(), BatchWriter.write

    async def held_up(writer: BatchWriter, records: Sequence[Record]) -> int:
        await storing.wait()
        return await write(writer, records)

    monkeypatch.setattr(BatchWriter, "write", held_up)
    service = make()
    await service.start()
    first = await react(service, "alice", "+1")
    await react(service, "bob", "+1")
    last = await react(service, "alice", "-1")
    before = await shown(service)
    assert pairs(before) == [("alice", "+1"), ("alice", "-1"), ("bob", "+1")]
    assert (before["as_of"], before["reactions"][0]["rev"]) == (last, first)
    stored = await shown(service, overlaid="false")
    assert pairs(stored) == []
    assert stored["as_of"] < first, "and it says so"
    storing.set()
    await service.stop()
    await service.start()
    storing.clear()
    taken_back = await react(service, "alice", "+1", on=False)
    found = await shown(service)
    assert pairs(found) == [("alice", "-1"), ("bob", "+1")]
    assert found["as_of"] == taken_back
    assert pairs(await shown(service, overlaid="false")) == pairs(before)
    storing.set()


async def test_a_read_without_the_tail_waits_until_it_is_stored(
    make: Callable[..., ReactingService],
) -> None:
    service = make(STORE_BATCH_MS="100")
    await service.start()
    last = await react(service, "alice", "+1")
    found = await shown(service, overlaid="false", as_of=str(int(last, 16)))
    assert (pairs(found), found["as_of"]) == ([("alice", "+1")], last)


async def test_a_projection_of_another_version_is_built_anew_at_the_next_start(
    make: Callable[..., ReactingService], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make()
    await service.start()
    for emoji in ("+1", "-1"):
        await react(service, "bob", emoji)
    last = await react(service, "bob", "-1", on=False)
    await service.stop()
    old = reaction_rows.REACTIONS
    newer = {name: getattr(old, name) for name in ("name", "kinds", "key", "columns", "fold")}
    monkeypatch.setattr(reaction_rows, "REACTIONS", type(old)(**newer, version=2))
    await service.start()
    async with asyncio.timeout(30):
        while (found := await shown(service, overlaid="false", as_of=str(int(last, 16))))[
            "as_of"
        ] < last:
            pass
    assert pairs(found) == [("bob", "+1")]
