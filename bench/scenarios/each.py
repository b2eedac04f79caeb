"""Servers to measure, one after another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bench.contenders import Contender
from bench.listeners import Listeners
from bench.options import Options
from bench.processes import Server


async def each_with_listeners(
    options: Options, measure: Callable[[Contender, Server, Listeners], Awaitable[None]]
) -> None:
    """Measure each contender, run on a new folder, with listeners in a process of their own."""
    for contender in (*options.services, *options.peers):
        with (
            options.temporary() as folder,
            contender.run(folder, options.cores.server) as server,
        ):
            async with Listeners(options.cores.load) as listeners:
                await measure(contender, server, listeners)
