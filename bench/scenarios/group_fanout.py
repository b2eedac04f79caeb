"""Messages to groups beside messages to a set: CPU each, the same people connected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import repeat
from typing import Final

from bench import http_load
from bench.contenders import CONTENT, people, send_request, token
from bench.http_load import request
from bench.listeners import Listeners
from bench.options import Options
from bench.processes import Server
from bench.report import Figures, micros_per
from bench.scenarios.durable import stored
from bench.scenarios.fanout import frame_of

CONNECTED: Final = 200
SIZES: Final = (1_000, 100_000)
_JOINING: Final = 64
_MAX_MEMBERS: Final = "1000000"


async def run(options: Options, figures: Figures) -> None:
    """Publish to a set of 200 who are connected, and to groups that the same 200 belong to.

    The frames of all have the same size. The CPU is that of the whole process until all is stored.
    Of 100,000 members it takes half a minute to make a group.
    """
    for contender in options.services:
        with (
            options.temporary() as folder,
            contender.run(folder, options.cores.server, MAX_GROUP_MEMBERS=_MAX_MEMBERS) as server,
        ):
            async with Listeners(options.cores.load) as listeners:
                names = people(CONNECTED)
                openings = [contender.opening(name) for name in names]
                await listeners.open(server.port, openings, sends_hello=True)
                publish = send_request(names)
                targets = {f"a set of {CONNECTED}": publish}
                frame = await frame_of(server, publish)
                for size in SIZES:
                    channel = await _group(server, names, size)
                    text = await _padded(server, channel, frame)
                    targets[f"a group of {size:,}"] = _to_group(channel, text)
                await stored(server)
                for name, one in targets.items():
                    await _measure(options, figures, server, listeners, (name, one, frame))


async def _measure(
    options: Options,
    figures: Figures,
    server: Server,
    listeners: Listeners,
    target: tuple[str, bytes, int],
) -> None:
    name, publish, frame = target
    scenario = f"A message to {CONNECTED} who are connected, {frame} bytes a frame: CPU each"
    for at_once, count in options.publishes.items():
        await listeners.reset(frame)
        before = server.cpu()
        await http_load.run(server.port, repeat(publish, count), at_once=at_once)
        await listeners.wait(count)
        await stored(server)
        spent = micros_per(server.cpu() - before, count)
        figures.add(scenario, name, f"{at_once} at once", "µs", spent)


async def _group(server: Server, names: list[str], size: int) -> str:
    """Create a group of the sender and the names, and others who are not connected."""
    made = request(
        "POST", "/api/groups", _bearer() | {"Connection": "close"}, b'{"name":"Readers"}'
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(made)
    answer = await reader.read(-1)
    writer.close()
    group = json.loads(answer.partition(b"\r\n\r\n")[2])["id"]
    others = (f"v{number:06}" for number in range(size - 1 - len(names)))

    headers = _bearer()

    def additions() -> Iterator[bytes]:
        for name in (*names, *others):
            yield request("PUT", f"/api/groups/{group}/members/{name}", headers)

    await http_load.run(server.port, additions(), at_once=_JOINING)
    return f",g:{group}"


async def _padded(server: Server, channel: str, frame: int) -> str:
    """Return a text with which a message to the channel has a frame of this size."""
    short = await frame_of(server, _to_group(channel, CONTENT))
    return CONTENT + "x" * (frame - short)


def _to_group(channel: str, content: str) -> bytes:
    body = json.dumps({"channel": channel, "content": content}).encode()
    return request("POST", "/api/messages", _bearer(), body)


def _bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {token('sender')}"}
