"""Clubs, pages and lists by HTTP, as a user of the public interface asks for them."""

from __future__ import annotations

from typing import Any, Final

import aiohttp

from testkit.records import draft
from testkit.talking import bearer
from testkit.waiting import until
from tests.integration.support.clubs import ClubService

TEAM: Final = ",g:team"


async def adopted(service: ClubService) -> None:
    """Wait until a new log has met its store."""
    await until(lambda: not service.log.exchange.state_due)


async def stored(service: ClubService) -> None:
    """Wait until all is stored, and the tail has let go of it for what others wrote."""
    tail = service.log.tail
    head = tail.head
    for _ in range(20):
        await service.log.append(draft("x" * 100_000, to=("dave", "erin")))
    await until(lambda: tail.floor >= head)


async def post(service: ClubService, user: str, what: str, **given: str) -> tuple[int, Any]:
    body = {"channel": TEAM, **given}
    url = f"{service.url}/api/clubs/{what}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=bearer(user)) as answer,
    ):
        return answer.status, await answer.json()


async def done(service: ClubService, user: str, what: str, **given: str) -> str:
    """The id of the record that it came to."""
    status, body = await post(service, user, what, **given)
    assert status == 201, body
    return str(body["id"])


async def get(service: ClubService, user: str, path: str, **query: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{service.url}{path}", params=query, headers=bearer(user)) as answer,
    ):
        return answer.status, await answer.json()


async def contents(service: ClubService, user: str, **query: str) -> list[str]:
    status, page = await get(service, user, "/api/messages", **query)
    assert (status, page["complete"]) == (200, True), page
    return [one["content"] for one in page["messages"]]


async def frames(service: ClubService, user: str, **query: str) -> list[str]:
    """What a page of changes has: contents of messages, and users of other records."""
    status, page = await get(service, user, "/api/changes", **query)
    assert status == 200, page
    return [one.get("content") or " ".join(one["users"]) for one in page["frames"]]
