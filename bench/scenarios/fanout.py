"""Fan-out: server CPU for each delivery, with every delivery accounted for."""

from __future__ import annotations

from functools import partial
from itertools import repeat

from bench import http_load
from bench.contenders import CONTENT, Contender, people
from bench.listeners import Listeners
from bench.options import Options
from bench.processes import Server
from bench.report import Figures, micros_per
from bench.scenarios.each import each_with_listeners
from bench.sockets import text_frame

_MASK_BYTES = 4
_WARM = 8


async def run(options: Options, figures: Figures) -> None:
    """One conversation whose participants have ``options.sockets`` sockets together.

    The publishes of a level are POSTs over as many connections, each with one under way.
    The CPU is that of the whole process: requests, log and storing are part of it.
    """
    await each_with_listeners(options, partial(_levels, options, figures))


async def _levels(
    options: Options,
    figures: Figures,
    contender: Contender,
    server: Server,
    listeners: Listeners,
) -> None:
    names = people(options.people)
    publish = contender.publishing(names, CONTENT)
    frame = await frame_of(server, publish)
    if frame < options.frame_bytes:
        publish = contender.publishing(names, CONTENT + "x" * (options.frame_bytes - frame))
        frame = await frame_of(server, publish)
    openings = [contender.opening(names[n % len(names)]) for n in range(options.sockets)]
    await listeners.open(server.port, openings, sends_hello=contender.sends_hello)
    await listeners.reset(frame)
    await http_load.run(server.port, repeat(publish, _WARM), at_once=1)
    await listeners.wait(_WARM)
    scenario = f"Fan-out to {options.sockets} sockets, {frame} bytes a frame: CPU a delivery"
    for at_once, usual in options.publishes.items():
        count = max(at_once, int(usual * contender.share))
        await listeners.reset(frame)
        before = server.cpu()
        load = await http_load.run(server.port, repeat(publish, count), at_once=at_once)
        await listeners.wait(count)
        spent = micros_per(server.cpu() - before, load.requests * options.sockets)
        figures.add(scenario, contender.name, f"{at_once} at once", "µs", spent)


async def frame_of(server: Server, publish: bytes) -> int:
    """Return the bytes of the frame that a listener gets."""
    first = await http_load.run(server.port, repeat(publish, 1), at_once=1)
    return len(text_frame(b"x" * first.size)) - _MASK_BYTES
