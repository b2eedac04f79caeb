"""One user who lists many conversations on many connections."""

from __future__ import annotations

from itertools import count, islice

from bench import http_load
from bench.attacks import Honest, resident, watched
from bench.floods import Flood, listings, requests_of
from bench.http_load import request
from testkit.service import MakeService, Service, token
from testkit.waiting import until

MIB = 1024 * 1024
CONVERSATIONS = 3000


def sends(sender: str, to: str) -> bytes:
    body = f'{{"participants":["{sender}","{to}"],"content":"Hello!"}}'.encode()
    bearer = {"Authorization": f"Bearer {token(sender)}"}
    return request("POST", "/api/messages", bearer, body)


async def prepared(service: Service) -> None:
    """Messages of an honest user, and then many conversations of another, all stored."""
    await service.start()
    await http_load.run(service.port, iter([sends("honest", "other")] * 40), at_once=8)
    theirs = (sends("mallory", f"c{number:05}") for number in count())
    await http_load.run(service.port, islice(theirs, CONVERSATIONS), at_once=32)
    assert await service.terminate() == 0
    await service.start()


def reads(service: Service) -> Honest:
    """What only the store can answer."""
    paths = ["/api/messages?after=0000000000000000&limit=20", "/api/conversations?limit=20"]
    return Honest(service.port, requests_of(token("honest"), paths))


SETTINGS = {
    "MAX_NEW_CONVERSATIONS_PER_HOUR": "0",
    "RECENT_BYTES": "1MiB",
    "IDEMPOTENCY_SECONDS": "1",
    "LOG_LEVEL": "warning",
}


async def test_listings_of_one_user_wait_for_one_another_and_not_the_others(
    make_service: MakeService,
) -> None:
    service = make_service(SETTINGS)
    await prepared(service)
    before = resident(service.pid)
    async with reads(service) as others, Flood(service.port) as flood, watched(service.pid) as most:
        flood.over_http(listings(token("mallory")), 100)
        await until(lambda: flood.answers["history_busy"] > 200, patience=60)
        others.reset()
        await until(lambda: others.answered > 60, patience=60)
        assert others.failures == []
        assert set(flood.answers) == {"ok", "history_busy"}
        assert set(flood.retry_after) == {1.0}
        await until(lambda: flood.answers["ok"] > 20, patience=60)
    assert most() - before < 100 * MIB


async def test_listings_whose_callers_went_away_end_and_leave_nothing(
    make_service: MakeService,
) -> None:
    service = make_service(SETTINGS)
    await prepared(service)
    for _ in range(3):
        async with Flood(service.port) as flood:
            flood.over_http(listings(token("mallory")), 50)
            await until(lambda flood=flood: flood.answers.total() > 50, patience=60)  # type: ignore[misc]
    async with reads(service) as others:
        await until(lambda: others.answered > 20)
        assert others.failures == []
    assert await service.terminate() == 0
