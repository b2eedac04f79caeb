"""Hostile WebSockets: the cost for the service, and the delivery times of honest pairs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import jwt

from bench.attacks import Peak, outcome
from bench.contenders import SECRET, Contender, token
from bench.options import Options
from bench.processes import Server
from bench.report import Figures
from bench.socket_attacks import (
    EMPTY_TEXT,
    JUNK_AUTH,
    PING,
    Reader,
    Socket,
    Talkers,
    auth,
    burst,
    crowd,
    flood,
    send,
)

_MIB = 1024 * 1024
_FLOOD_BYTES = 8_000_000
_USER = "mallory"
_SOCKETS = 4

Attack = Callable[[int], Awaitable[str]]
"""Takes the port and returns what the service did. Runs in a separate process."""


async def run(options: Options, figures: Figures) -> None:
    """Run each attack on a new service, with four honest pairs beside it."""
    for contender in options.services:
        for name, attack in ATTACKS.items():
            with (
                options.temporary() as folder,
                contender.run(folder, options.cores.server) as server,
            ):
                await _attacked(contender, server, name, attack, figures)


async def _attacked(
    contender: Contender, server: Server, name: str, attack: Attack, figures: Figures
) -> None:
    pairs = [(f"a{n}", token(f"a{n}"), f"b{n}", token(f"b{n}")) for n in range(4)]
    async with Talkers(server.port, pairs) as honest:
        await asyncio.sleep(0.5)
        honest.seconds.clear()
        before, cpu = server.memory(), server.cpu()
        async with Peak(server.memory, 0.1) as peak:
            reported = await outcome(attack, server.port)
            await asyncio.sleep(0.5)
        print(f"{contender.name}: {name}: {reported}")
        for what, unit, value in (
            ("honest p99", "ms", honest.percentile(0.99) * 1000),
            ("honest slowest", "ms", honest.percentile(1) * 1000),
            ("honest cut", "sockets", honest.lost),
            ("CPU", "s", server.cpu() - cpu),
            ("memory more", "MiB", max(0, peak.value - before) / _MIB),
        ):
            figures.add(name, contender.name, what, unit, value)


async def _nothing(port: int) -> str:
    await asyncio.sleep(3)
    return "for comparison"


async def _flooded(frame: bytes, port: int) -> str:
    codes = await asyncio.gather(
        *(flood(port, token(_USER), frame, _FLOOD_BYTES) for _ in range(_SOCKETS))
    )
    return f"closed with {sorted(set(codes))}"


async def _renewals(port: int) -> str:
    claims = {"sub": _USER, "exp": int(time.time()) + 40}  # soon enough for timers to be set
    frame = auth(jwt.encode(claims, SECRET, "HS256"))
    code = await flood(port, token(_USER), frame, 50_000 * len(frame))
    return f"closed with {code}"


async def _burst(port: int) -> str:
    senders = [f"s{n}" for n in range(5)]
    async with Reader(port, token("victim")) as victim:
        for _ in range(3):
            sent = await asyncio.gather(
                *(burst(port, name, token(name), "victim", 20) for name in senders)
            )
            assert all(len(ids) == 20 for ids in sent)
        async with asyncio.timeout(60):
            while len(set(victim.ids)) < 300:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return f"the victim cut {victim.cuts} times"


async def _unread(port: int) -> str:
    sockets = [await Socket.open(port, token(_USER), receive_buffer=4096) for _ in range(_SOCKETS)]
    message = send([_USER], "x") * 100_000
    taken = await asyncio.gather(*(one.write(message, seconds=5) for one in sockets))
    for one in sockets:
        one.hang_up()
    return f"{sum(taken)} of {_SOCKETS} took all of 100,000 sends"


async def _crowd(port: int) -> str:
    opened, refused = await crowd(port, token(_USER), 4000)
    for one in opened:
        one.hang_up()
    return f"{len(opened)} opened, refused {refused}"


ATTACKS: dict[str, Attack] = {
    "nothing": _nothing,
    "8 MB of empty pings on each of 4 sockets": partial(_flooded, PING),
    "8 MB of empty text frames on each of 4 sockets": partial(_flooded, EMPTY_TEXT),
    "8 MB of junk auth on each of 4 sockets": partial(_flooded, JUNK_AUTH),
    "50,000 times the same good token, which ends soon": _renewals,
    "3 bursts of 100 messages of 96 KB at one reader": _burst,
    "sends whose answers are not read": _unread,
    "4,000 sockets of one user, leaving at once": _crowd,
}
