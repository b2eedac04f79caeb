"""Idle sockets: memory per socket, and CPU per connect."""

from __future__ import annotations

import asyncio
from functools import partial

from bench.contenders import Contender, people
from bench.listeners import Listeners
from bench.options import Options
from bench.processes import Server
from bench.report import Figures, micros_per
from bench.scenarios.each import each_with_listeners

_WARM = 200


async def run(options: Options, figures: Figures) -> None:
    """Open ``options.idle`` sockets, each of another user and with a new token.

    They are then dropped and opened again, now with cached tokens. Some are opened beforehand,
    so that initial allocations are not counted.
    """
    await each_with_listeners(options, partial(_measure, options, figures))


async def _measure(
    options: Options,
    figures: Figures,
    contender: Contender,
    server: Server,
    listeners: Listeners,
) -> None:
    scenario = f"{options.idle:,} idle sockets"
    names = people(options.idle + _WARM)
    openings = [contender.opening(name) for name in names]
    await listeners.open(server.port, openings[options.idle :], sends_hello=contender.sends_hello)
    openings = openings[: options.idle]
    await asyncio.sleep(options.settle_seconds)
    memory = server.memory()
    for what in ("CPU to connect", "CPU to connect again"):
        before = server.cpu()
        await listeners.open(server.port, openings, sends_hello=contender.sends_hello)
        spent = micros_per(server.cpu() - before, options.idle)
        if what == "CPU to connect":
            await asyncio.sleep(options.settle_seconds)
            each = (server.memory() - memory) / options.idle / 1000
            figures.add(scenario, contender.name, "memory of each", "kB", each)
            await listeners.close_all()
            await asyncio.sleep(options.settle_seconds)
        figures.add(scenario, contender.name, what, "µs", spent)
