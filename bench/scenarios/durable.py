"""Durable sends: CPU for each, over POST and over sockets, storing included."""

from __future__ import annotations

import asyncio
import json
import re
import time
from itertools import repeat

from bench import http_load
from bench.contenders import CONTENT, Contender, people
from bench.options import Options
from bench.processes import Failed, Server
from bench.report import Figures, micros_per
from bench.sockets import Client, open_client, text_frame

_BACKLOG = re.compile(rb"^chatsvc_backlog_messages (\S+)", re.MULTILINE)
_DRAIN_SECONDS = 60.0
WINDOW = 64


async def run(options: Options, figures: Figures) -> None:
    """Send from one user (one cached token) to a user who is not connected.

    The peers answer the same POST with the same bytes, and store nothing.
    """
    scenario = "A durable send by POST: CPU each"
    for contender in (*options.services, *options.peers):
        own = contender.sends_hello
        with (
            options.temporary() as folder,
            contender.run(folder, options.cores.server) as server,
        ):
            publish = contender.publishing(people(1), CONTENT)
            await http_load.run(server.port, repeat(publish, 200), at_once=8)
            for at_once, count in options.sends.items():
                if own:
                    await stored(server)
                before, loop_before = server.cpu(), server.cpu_of_loop()
                load = await http_load.run(server.port, repeat(publish, count), at_once=at_once)
                if own:
                    await stored(server)
                spent = micros_per(server.cpu() - before, count)
                of_loop = micros_per(server.cpu_of_loop() - loop_before, count)
                figures.add(scenario, contender.name, f"{at_once} at once", "µs", spent)
                if own:
                    name = f"{contender.name}, loop thread alone"
                    figures.add(scenario, name, f"{at_once} at once", "µs", of_loop)
                figures.add("Sends a second", contender.name, f"{at_once} at once", "/s", load.rate)
            if own:
                await _by_socket(options, figures, contender, server)


async def _by_socket(
    options: Options, figures: Figures, contender: Contender, server: Server
) -> None:
    scenario = f"A durable send over sockets, {WINDOW} unacknowledged on each: CPU each"
    count = options.sends[max(options.sends)]
    for sockets in (1, 8):
        what = f"{sockets} at once"
        await stored(server)
        before, loop_before = server.cpu(), server.cpu_of_loop()
        seconds = await pipelined(server.port, contender, sockets=sockets, sends=count)
        await stored(server)
        spent = micros_per(server.cpu() - before, count)
        of_loop = micros_per(server.cpu_of_loop() - loop_before, count)
        figures.add(scenario, contender.name, what, "µs", spent)
        figures.add(scenario, f"{contender.name}, loop thread alone", what, "µs", of_loop)
        figures.add("Sends a second", contender.name, f"{what} by socket", "/s", count / seconds)


async def pipelined(port: int, contender: Contender, *, sockets: int, sends: int) -> float:
    """Send ``sends`` messages over ``sockets`` sockets; return seconds until all acks.

    Raises:
        Failed: an answer that is no ``ack``, or a socket that was lost.
    """
    pipes = [_Pipe(sends // sockets) for _ in range(sockets)]
    for pipe in pipes:
        pipe.client = await open_client(
            port, contender.opening("sender"), sends_hello=True, received=pipe.received
        )
    began = time.monotonic()
    for pipe in pipes:
        pipe.fill()
    async with asyncio.timeout(_DRAIN_SECONDS):
        await asyncio.gather(*[pipe.finished for pipe in pipes])
    seconds = time.monotonic() - began
    for pipe in pipes:
        pipe.client.transport.abort()
    return seconds


class _Pipe:
    """One socket that keeps :data:`WINDOW` sends unanswered.

    Acknowledgements without a ``ref`` all have the same size.
    """

    client: Client

    def __init__(self, sends: int) -> None:
        self._left = sends
        self._unacked = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        body = {"type": "send", "participants": ["sender", *people(1)], "content": CONTENT}
        self._frame = text_frame(json.dumps(body).encode())

    def fill(self) -> None:
        """Send as many as the window allows, in one write."""
        more = min(WINDOW - self._unacked, self._left)
        if more:
            self._left -= more
            self._unacked += more
            self.client.transport.write(self._frame * more)
        elif not self._unacked and not self.finished.done():
            self.finished.set_result(None)

    def received(self, acks: int) -> None:
        """Count received acknowledgements."""
        self._unacked -= acks
        if self._unacked <= WINDOW // 2:
            self.fill()


async def stored(server: Server) -> None:
    """Wait until everything accepted is in the store, for a minute at most."""
    ask = http_load.request("GET", "/metrics", {"Connection": "close"})
    async with asyncio.timeout(_DRAIN_SECONDS):
        while await _backlog(server.port, ask):  # noqa: ASYNC110 -- another process's number
            await asyncio.sleep(0.05)


async def _backlog(port: int, ask: bytes) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ask)
    text = await reader.read(-1)
    writer.close()
    found = _BACKLOG.search(text)
    if found is None:
        raise Failed(f"no backlog among the metrics: {text[:200]!r}")
    return float(found[1])
