"""MongoDB dies, stands still, refuses, is slow, comes back: sends go on throughout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from testkit import mongod
from testkit.service import MakeService, Service, token
from tests.fault.kit.proxy import Direction, FaultProxy
from tests.fault.kit.trial import Trial, trial
from tests.fault.kit.workload import Mix

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

MIX = Mix(pause=0.05, drop_after=3.0)
FEW_TRIES = {"STORE": "mongodb", "RETRY_ATTEMPTS": "2", "MONGO_DB": "chat_fault"}
"""A round is soon over, and health soon says so."""
DATABASE = FEW_TRIES["MONGO_DB"]
WRITES = ["insert", "update"]
NOT_PRIMARY = 10107
PRIMARY_STEPPED_DOWN = 189
UNKNOWN_WRITE_CONCERN = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "no majority"}


@pytest.fixture
async def proxy(mongo_server: mongod.MongoServer) -> AsyncIterator[FaultProxy]:
    """Between the service and MongoDB."""
    async with FaultProxy(("127.0.0.1", mongo_server.port)) as between:
        yield between


@pytest.fixture
async def service(make_service: MakeService, proxy: FaultProxy) -> Service:
    uri = f"mongodb://127.0.0.1:{proxy.port}/"
    made = make_service({**FEW_TRIES, "MONGO_URI": uri})
    await made.start()
    return made


async def away(held: Trial, count: int) -> None:
    """Without its store: sends are taken, none is refused, and health says it."""
    turned_away = held.load.turned_away + held.load.refused
    await held.load.more(count)
    await until_health(held.service, "degraded")
    await held.load.more(count)
    assert held.load.turned_away + held.load.refused == turned_away, "sends were refused"


async def until_health(service: Service, status: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while (found := await service.health())["status"] != status:
        assert time.monotonic() < deadline, f"{found}\n{service.stderr()[-3000:]}"
        await asyncio.sleep(0.1)


async def back(held: Trial, server: mongod.MongoServer, count: int) -> None:
    """With its store again: it finds it by itself, and what waited is stored."""
    began = time.monotonic()
    await held.load.more(count)
    await until_health(held.service, "ok")
    newest = held.load.newest_acknowledged
    with mongod.client(server.uri) as client:
        messages = client[DATABASE]["messages"]
        while messages.find_one({"_id": newest}) is None:
            assert time.monotonic() < began + 60, held.service.stderr()[-3000:]
            await asyncio.sleep(0.1)
    held.notes["stored again after s"] = round(time.monotonic() - began, 1)


async def require_all_stored(held: Trial, server: mongod.MongoServer, accepted: int) -> None:
    """As another client sees it, once the service has caught up: every message, once."""
    deadline = time.monotonic() + 60
    with mongod.client(server.uri) as client:
        messages = client[DATABASE]["messages"]
        while (stored := messages.count_documents({})) < accepted:
            assert time.monotonic() < deadline, f"{stored} of {accepted} stored"
            await asyncio.sleep(0.1)
    assert stored == accepted


@contextmanager
def fail_point(server: mongod.MongoServer, **data: Any) -> Iterator[None]:
    """MongoDB's own: commands fail as told while it is on."""
    with mongod.client(server.uri) as client:
        configure = ("configureFailPoint", "failCommand")
        client.admin.command(*configure, mode="alwaysOn", data=data)
        try:
            yield
        finally:
            client.admin.command(*configure, mode="off")


@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=pytest.mark.slow)])
async def test_gone_and_back(
    service: Service, mongo_server: mongod.MongoServer, how: str, few_rounds: int, judge
) -> None:
    async with trial(service, MIX) as held:
        for _ in range(few_rounds):
            await held.load.more(50)
            await asyncio.to_thread(getattr(mongo_server, how))
            await away(held, 50)
            await asyncio.to_thread(mongo_server.start)
            await back(held, mongo_server, 50)
        held.notes["outages"] = few_rounds
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])


@pytest.mark.slow
async def test_stands_still(
    service: Service, mongo_server: mongod.MongoServer, few_rounds: int, judge
) -> None:
    async with trial(service, MIX) as held:
        for _ in range(few_rounds):
            await held.load.more(50)
            mongo_server.pause()
            await away(held, 50)
            mongo_server.resume()
            await back(held, mongo_server, 50)
        held.notes["stops"] = few_rounds
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])


@pytest.mark.slow
async def test_network_gone(
    service: Service, proxy: FaultProxy, mongo_server: mongod.MongoServer, few_rounds: int, judge
) -> None:
    async with trial(service, MIX) as held:
        for _ in range(few_rounds):
            await held.load.more(50)
            proxy.black_hole()
            await away(held, 50)
            proxy.heal()
            await back(held, mongo_server, 50)
        held.notes["black holes"] = few_rounds
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])


@pytest.mark.slow
async def test_answers_lost(
    service: Service, proxy: FaultProxy, mongo_server: mongod.MongoServer, judge
) -> None:
    """What is written arrives, what it answers does not: written again, stored once."""
    async with trial(service, MIX) as held:
        await held.load.more(50)
        proxy.black_hole(Direction.DOWN)
        await away(held, 50)
        proxy.heal()
        await back(held, mongo_server, 50)
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])


async def test_connections_cut(
    service: Service, proxy: FaultProxy, mongo_server: mongod.MongoServer, few_rounds: int, judge
) -> None:
    async with trial(service, MIX) as held:
        for number in range(5 * few_rounds):
            await held.load.more(20)
            await proxy.cut(reset=number % 2 == 0)
        await back(held, mongo_server, 50)
        held.notes["cuts"] = 5 * few_rounds
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])


async def test_slow(
    service: Service, proxy: FaultProxy, mongo_server: mongod.MongoServer, judge
) -> None:
    async with trial(service, MIX) as held:
        proxy.delay(0.3, jitter=0.3)
        await held.load.more(200)
        assert held.load.turned_away == 0
        proxy.heal()
        await back(held, mongo_server, 50)
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param({"failCommands": WRITES, "errorCode": NOT_PRIMARY}, id="not primary"),
        pytest.param(
            {"failCommands": WRITES, "errorCode": PRIMARY_STEPPED_DOWN},
            id="stepped down",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"failCommands": WRITES, "writeConcernError": UNKNOWN_WRITE_CONCERN}, id="no majority"
        ),
        pytest.param(
            {"failCommands": WRITES, "closeConnection": True}, id="hangs up", marks=pytest.mark.slow
        ),
        pytest.param(
            {"failCommands": WRITES, "errorCode": 13},
            id="writes not allowed",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"failCommands": WRITES, "errorCode": 14031},
            id="out of disk space",
            marks=pytest.mark.slow,
        ),
    ],
)
async def test_refuses_writes(
    service: Service, mongo_server: mongod.MongoServer, failure: dict[str, Any], judge
) -> None:
    async with trial(service, MIX) as held:
        await held.load.more(50)
        with fail_point(mongo_server, **failure):
            await away(held, 50)
        await back(held, mongo_server, 50)
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])
    assert not dead_letters(mongo_server)


async def test_refuses_reads(service: Service, mongo_server: mongod.MongoServer, judge) -> None:
    """History answers from the log's tail, and resumes go on, or announce a gap."""
    async with trial(service, MIX) as held:
        await held.load.more(50)
        with fail_point(mongo_server, failCommands=["find", "aggregate"], errorCode=NOT_PRIMARY):
            await held.load.more(200)
        await back(held, mongo_server, 50)
    judge(held)


async def test_away_when_the_service_is_killed(
    service: Service, mongo_server: mongod.MongoServer, few_rounds: int, judge
) -> None:
    """What waits for the store outlives the process, and is read meanwhile."""
    async with trial(service, MIX) as held:
        await held.load.more(50)
        await asyncio.to_thread(mongo_server.kill)
        for _ in range(few_rounds):
            await held.load.more(50)
            await service.restart()
        await held.load.more(50)
        await asyncio.to_thread(mongo_server.start)
        await back(held, mongo_server, 50)
        held.notes["kills"] = few_rounds
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])


async def test_backlog_at_its_bound(
    make_service: MakeService, proxy: FaultProxy, mongo_server: mongod.MongoServer, judge
) -> None:
    """Too much unsaved of each sender: 429 with a time to come back, while whoever has nothing
    unsaved still gets in; and on it goes by itself."""
    uri = f"mongodb://127.0.0.1:{proxy.port}/"
    service = make_service(
        {**FEW_TRIES, "MONGO_URI": uri, "BACKLOG_BYTES": "1MiB", "RECENT_BYTES": "1MiB"}
    )
    await service.start()
    async with trial(service, Mix(pause=0.001)) as held:
        await held.load.more(50)
        mongo_server.pause()
        turned_away = held.load.turned_away + 20
        await held.load.until(lambda: held.load.turned_away >= turned_away, "turned away")
        async with asyncio.timeout(60):
            # Another process: its store's silence is noticed within five seconds.
            while (health := await service.health())["status"] == "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (health["http_status"], health["status"]) == (200, "degraded")
        async with aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token('new')}"}
        ) as new:
            message = {"participants": ["new"], "content": "somebody who holds nothing"}
            async with new.post(f"{service.url}/api/messages", json=message) as answer:
                assert answer.status == 201
        mongo_server.resume()
        await back(held, mongo_server, 50)
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"] + 1)


def dead_letters(server: mongod.MongoServer) -> list[dict[str, Any]]:
    """What was put aside; nothing may be, for a failure that passes."""
    with mongod.client(server.uri) as client:
        return list(client[DATABASE]["messages_dead_letters"].find())


@pytest.mark.slow
async def test_log_lost_while_it_is_away(
    service: Service, mongo_server: mongod.MongoServer, judge
) -> None:
    """A new log that knows nothing, and a store that cannot be asked: what is said
    meanwhile goes above what the store turns out to hold, and nobody is told that there
    is nothing more."""
    async with trial(service, replace(MIX, readers=0)) as held:
        await held.load.more(50)
        assert await service.terminate() == 0
        await asyncio.to_thread(mongo_server.kill)
        for path in service.data_dir.glob("log.db*"):
            path.unlink()
        await service.start()
        # Until it has met its store it takes no ids from before its start, or from the five
        # seconds after it: senders that insist would wait for the store.
        held.load.let_go(5_000)
        await held.load.more(50)
        conversation = held.load.conversations[0]
        page = await held.load.http.page(conversation[0], limit=1000)
        assert page is None or not page["complete"], "what it cannot know it calls complete"
        await asyncio.to_thread(mongo_server.start)
        await back(held, mongo_server, 50)
    verdict = judge(held)
    await require_all_stored(held, mongo_server, verdict.totals["messages accepted"])
