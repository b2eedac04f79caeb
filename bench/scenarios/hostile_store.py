"""Attacks of one user on log and store, and the service that others get meanwhile.

Every figure of "Under attack" in ``docs/reliability.md`` that names this scenario; with
``--against`` another checkout is measured beside this one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, islice

from bench import http_load
from bench.attacks import Honest, answer, honest_requests, watched
from bench.contenders import Contender, send_request, token
from bench.floods import (
    Flood,
    listings,
    requests_of,
    sends_to_many,
    share,
    wal_bytes,
    write_lock,
)
from bench.options import Options
from bench.processes import Server
from bench.report import Figures
from bench.scenarios.durable import stored

MIB = 1024 * 1024
_CONVERSATIONS = 40_000
_SECONDS = 20.0
_LOCK_SECONDS = 10.0
_DRAIN_SECONDS = 600.0


async def run(options: Options, figures: Figures) -> None:
    """Run three attacks on each service."""
    for service in options.services:
        await _backlog(options, figures, service)
        await _listings(options, figures, service)
        await _lock(options, figures, service)


async def _backlog(options: Options, figures: Figures, service: Contender) -> None:
    """Flood two sockets with messages to 255 others."""
    scenario = "Two sockets send to 255 others"
    with options.temporary() as folder, service.run(folder, options.cores.server) as server:
        async with Flood(server.port) as flood:
            sends = sends_to_many("mallory", 20, 255, "x" * 200)
            async with _measured(server, figures, scenario, service.name):
                flood.over_sockets(sends, 2, token("mallory"))
                await asyncio.sleep(_SECONDS)
            accepted, refused = flood.answers["ok"], flood.answers.total() - flood.answers["ok"]
        figures.add(scenario, service.name, "of the sender's accepted", "messages", accepted)
        figures.add(scenario, service.name, "refused", "messages", refused)
        await _drained(server)
        await asyncio.sleep(5)
        wal = wal_bytes(folder / "data" / "store.db") / MIB
        figures.add(scenario, service.name, "the store's WAL 5 s after", "MiB", wal)


async def _listings(options: Options, figures: Figures, service: Contender) -> None:
    """List 40,000 conversations on 200 connections."""
    scenario = "200 connections list 40,000 conversations"
    settings = {"MAX_NEW_CONVERSATIONS_PER_HOUR": "0", "RECENT_BYTES": "1MiB"}
    cores = options.cores.server
    with options.temporary() as folder, service.run(folder, cores, **settings) as server:
        old = [send_request(["other"], "honest")] * 50
        await http_load.run(server.port, iter(old), at_once=8)
        theirs = (send_request([f"c{number:05}"], "mallory") for number in count())
        await http_load.run(server.port, islice(theirs, _CONVERSATIONS), at_once=64)
        await _drained(server)
        reads = requests_of(token("honest"), ["/api/messages?after=0000000000000000&limit=20"])
        async with Flood(server.port) as flood:
            async with _measured(server, figures, scenario, service.name, reads):
                flood.over_http(listings(token("mallory")), 200)
                await asyncio.sleep(_SECONDS)
            busy = flood.answers["history_busy"]
        figures.add(scenario, service.name, "listings answered", "", flood.answers["ok"])
        figures.add(scenario, service.name, "refused", "listings", busy)


async def _lock(options: Options, figures: Figures, service: Contender) -> None:
    """Hold the write lock of the log from another process."""
    scenario = f"Another process holds the log for {_LOCK_SECONDS:.0f} s"
    with options.temporary() as folder, service.run(folder, options.cores.server) as server:
        await http_load.run(server.port, iter([send_request(["bob"])] * 10), at_once=1)
        slowest = 0.0
        answered = 0

        async def ask() -> None:
            nonlocal slowest, answered
            while True:
                began = time.monotonic()
                try:
                    await answer(server.port, send_request(["bob"]))
                finally:
                    slowest = max(slowest, time.monotonic() - began)
                answered += 1
                await asyncio.sleep(0.05)

        with write_lock(folder / "data" / "log.db"):
            tasks = [asyncio.create_task(ask()) for _ in range(8)]
            await asyncio.sleep(_LOCK_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        began = time.monotonic()
        while (await answer(server.port, send_request(["bob"])))[0] != 201:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        figures.add(scenario, service.name, "slowest answer", "s", slowest)
        figures.add(scenario, service.name, "sends answered", "", answered)
        figures.add(scenario, service.name, "taken again after", "s", time.monotonic() - began)


async def _drained(server: Server) -> None:
    """Wait without a limit until the backlog is empty: it may be full."""
    async with asyncio.timeout(_DRAIN_SECONDS):
        while True:
            try:
                await stored(server)
            except TimeoutError:
                continue
            return


@asynccontextmanager
async def _measured(
    server: Server,
    figures: Figures,
    scenario: str,
    name: str,
    requests: list[bytes] | None = None,
) -> AsyncIterator[None]:
    """Measure the requests of others, memory and CPU during the block."""
    others = Honest(server.port, requests or honest_requests(token("honest")))
    async with watched(server.pid) as peak_memory, others:
        cpu, began = server.cpu(), time.monotonic()
        yield
        spent = (server.cpu() - cpu) / (time.monotonic() - began)
        failed = share(len(others.failures), others.answered)
        figures.add(scenario, name, "honest p99", "ms", others.percentile(0.99) * 1000)
        figures.add(scenario, name, "honest failed", "%", failed)
        figures.add(scenario, name, "memory at most", "MiB", peak_memory() / MIB)
        figures.add(scenario, name, "CPU", "cores", spent)
