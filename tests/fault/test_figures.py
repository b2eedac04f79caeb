"""What docs/reliability.md claims in figures, at full length with ``make fault``."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from testkit import mongod
from testkit.service import MakeService, Service
from tests.fault.kit.clients import brief
from tests.fault.kit.proxy import FaultProxy
from tests.fault.kit.steady import Steady
from tests.fault.kit.trial import Trial, trial
from tests.fault.kit.workload import Mix

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(3600)]

DATABASE = "chat_fault"
QUIET = Mix(http_senders=0, socket_senders=0, listeners=4, readers=1, drop_after=None)


@pytest.fixture
async def between(mongo_server: mongod.MongoServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(("127.0.0.1", mongo_server.port)) as proxy:
        yield proxy


@pytest.fixture
async def on_mongodb(make_service: MakeService, between: FaultProxy) -> Service:
    uri = f"mongodb://127.0.0.1:{between.port}/"
    service = make_service({"STORE": "mongodb", "MONGO_URI": uri, "MONGO_DB": DATABASE})
    await service.start()
    return service


async def stored(server: mongod.MongoServer, newest: str, seconds: float) -> float:
    """Seconds until the newest message is in MongoDB."""
    began = time.monotonic()
    with mongod.client(server.uri) as client:
        messages = client[DATABASE]["messages"]
        while messages.find_one({"_id": newest}) is None:
            assert time.monotonic() < began + seconds, "it is not stored"
            await asyncio.sleep(0.2)
    return time.monotonic() - began


def record_histories(held: Trial, server: mongod.MongoServer) -> None:
    """All conversations as another client of MongoDB sees them, page by page."""
    channels = [",".join(conversation) for conversation in held.load.conversations]
    recorder = held.load.recorder
    calls = {
        channel: recorder.invoke("mongodb", "history", user=channel.split(",")[0], channel=channel)
        for channel in channels
    }
    found: dict[str, list[dict[str, Any]]] = {channel: [] for channel in channels}
    last = ""
    with mongod.client(server.uri) as client:
        messages = client[DATABASE]["messages"]
        while page := list(messages.find({"_id": {"$gt": last}}).sort("_id", 1).limit(5_000)):
            for document in page:
                found[document["channel"]].append(brief({**document, "id": document["_id"]}))
            last = page[-1]["_id"]
    for channel, call in calls.items():
        call.ok(messages=found[channel])


async def test_database_away_for_long(
    on_mongodb: Service,
    mongo_server: mongod.MongoServer,
    request: pytest.FixtureRequest,
    judge,
) -> None:
    """500 sends a second, all taken, all readable meanwhile, all stored afterwards."""
    seconds = request.config.getoption("--outage-seconds", default=30)
    rate = request.config.getoption("--outage-rate", default=500)
    async with trial(on_mongodb, QUIET) as held:
        held.histories = False
        steady = Steady(held.load, rate=rate)
        await steady.run(2)
        await asyncio.to_thread(mongo_server.kill)
        await steady.run(seconds)
        assert (await on_mongodb.health())["status"] == "degraded"
        await asyncio.to_thread(mongo_server.start)
        took = await stored(mongo_server, held.load.newest_acknowledged, 900)
        await held.load.finish(histories=False)
        record_histories(held, mongo_server)
        held.notes |= {
            "away s": seconds,
            "sends": steady.sent,
            "not accepted": steady.not_accepted,
            "backlog gone after s": round(took, 1),
            "load late by s": round(steady.late, 3),
        }
    assert steady.not_accepted == 0
    judge(held)


async def test_offline_for_two_minutes(
    on_mongodb: Service, mongo_server: mongod.MongoServer, judge
) -> None:
    """Two minutes of 200 messages a second, then back: from memory alone."""
    mix = Mix(
        http_senders=0, socket_senders=0, listeners=8, readers=0, conversations=16, drop_after=None
    )
    async with trial(on_mongodb, mix) as held:
        held.histories = False
        offline = min(  # not all of it is one person's, or RESUME_MAX would be in the way
            held.load.listeners,
            key=lambda listener: sum(listener.user in c for c in held.load.conversations),
        )
        await held.load.leave(offline)
        steady = Steady(held.load, rate=200)
        await steady.run(120)
        await stored(mongo_server, held.load.newest_acknowledged, 300)
        await asyncio.to_thread(mongo_server.kill)
        began = time.monotonic()
        held.load.come_back(offline)
        await held.load.finish(histories=False)
        held.notes |= {
            "sent meanwhile": steady.sent,
            "replayed": offline.received,
            "caught up after s": round(time.monotonic() - began, 2),
        }
        await asyncio.to_thread(mongo_server.start)
        record_histories(held, mongo_server)
    verdict = judge(held)
    assert verdict.totals["gaps announced"] == 0
    assert offline.received > 1_000


def latencies(recording: Path, skip: str, began: int, ended: int) -> list[float]:
    """Milliseconds from the first try of a send to each delivery, but to one listener."""
    tried: dict[str, int] = {}
    found: list[float] = []
    for line in recording.read_bytes().splitlines():
        event = json.loads(line)
        value = event["value"]
        if event["op"] == "send" and event["type"] == "invoke":
            tried.setdefault(value["client_id"], event["time"])
        elif event["op"] == "receive" and value["listener"] != skip:
            sent = tried.get(value["client_id"])
            if sent is not None and began <= sent < ended:
                found.append((event["time"] - sent) / 1e6)
    return found


def resident(service: Service) -> float:
    """MiB of memory that the service holds."""
    status = Path(f"/proc/{service.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1024, 1)


async def test_slow_reader(make_service: MakeService, judge) -> None:
    """One that reads nothing, at the defaults: cut at its bound; the others' p99 beside it."""
    # Without room for recent messages, or they would hide what the slow one's buffer costs.
    service = make_service({"SOCKET_STALL_SECONDS": "5", "RECENT_BYTES": "1MiB"})
    await service.start()
    mix = Mix(
        users=4, http_senders=0, socket_senders=0, listeners=8, readers=0, conversations=4,
        drop_after=None,
    )  # fmt: skip
    async with trial(service, mix) as held:
        slow = held.load.listeners[0]
        steady = Steady(held.load, rate=100, padding=8_000)
        await steady.run(10)  # until the interpreter's own memory has settled
        marks = [time.monotonic_ns()]
        await steady.run(10)
        before = resident(service)
        marks.append(time.monotonic_ns())
        slow.reading.clear()
        lives = slow.connections
        await steady.run(10)
        during = resident(service)
        marks.append(time.monotonic_ns())
        slow.reading.set()
        await steady.run(10)
        assert slow.connections > lives, "it was never cut"
        after = resident(service)
        held.load.recorder.flush()
        p99 = [
            round(statistics.quantiles(latencies(held.recording, slow.name, *pair), n=100)[98], 1)
            for pair in (marks[:2], marks[1:])
        ]
        held.notes |= {
            "others' p99 ms before": p99[0],
            "others' p99 ms during": p99[1],
            "MiB before, during, after": f"{before}, {during}, {after}",
            "times the slow one connected": slow.connections - lives,
        }
    judge(held)
