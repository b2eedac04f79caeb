"""Hostile HTTP: the cost for the service, and the response times of honest requests meanwhile."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import repeat
from typing import NamedTuple

from bench import http_load
from bench.attacks import (
    Crowd,
    Honest,
    honest_requests,
    large_file,
    outcome,
    resident,
    unfinished_head,
    unread_page,
    watched,
)
from bench.contenders import Contender, send_request, token
from bench.options import Options
from bench.processes import Server
from bench.report import Figures
from bench.scenarios.durable import stored
from bench.socket_attacks import Socket
from bench.sockets import handshake

_MIB = 1024 * 1024
_HOLD_SECONDS = 12.0
_MESSAGES = 1000
_LONG = "x" * 16_000
_READER = "reader"
_READERS = (_READER, "reader2", "reader3")


class Attack(NamedTuple):
    """An attack; ``run`` takes the port, runs in a separate process and returns its outcome.

    ``prefix`` is a command to run the service under; ``messages`` is the number of long
    messages of the attacker's account.
    """

    run: Callable[[int], Awaitable[str]]
    prefix: tuple[str, ...] = ()
    messages: int = 0


async def run(options: Options, figures: Figures) -> None:
    """Run each attack on a new service, with honest requests beside it."""
    for contender in options.services:
        for name, attack in ATTACKS.items():
            attacked = replace(contender, command=(*attack.prefix, *contender.command))
            with (
                options.temporary() as folder,
                attacked.run(folder, options.cores.server, RECENT_BYTES="1MiB") as server,
            ):
                await _fill(server, attack.messages)
                await _attacked(contender, server, name, attack, figures)
        with (
            options.temporary() as folder,
            contender.run(folder, options.cores.server) as server,
        ):
            await _fill(server, _MESSAGES)
            seconds = await _stopped(server)
            figures.add("SIGTERM, 20 readers that read nothing", contender.name, "to exit", "s",
                        seconds)  # fmt: skip


async def _fill(server: Server, messages: int) -> None:
    if messages:
        send = send_request(_READERS, content=_LONG)
        await http_load.run(server.port, repeat(send, messages), at_once=16)
        await stored(server)


async def _attacked(
    contender: Contender, server: Server, name: str, attack: Attack, figures: Figures
) -> None:
    async with Honest(server.port, honest_requests(token("honest"))) as honest:
        await asyncio.sleep(1.0)
        honest.reset()
        before, cpu = resident(server.pid), server.cpu()
        async with watched(server.pid) as peak_memory:
            reported = await outcome(attack.run, server.port)
            peak = peak_memory()
        cpu = server.cpu() - cpu
        await asyncio.sleep(3.0)
        print(f"{contender.name}: {name}: {reported}")
        for what, unit, value in (
            ("honest p99", "ms", honest.percentile(0.99) * 1000),
            ("honest slowest", "ms", honest.percentile(1) * 1000),
            ("honest failed", "of them", len(honest.failures)),
            ("honest answered", "of them", honest.answered),
            ("CPU", "s", cpu),
            ("memory before", "MiB", before / _MIB),
            ("at most", "MiB", peak / _MIB),
            ("3 s later", "MiB", resident(server.pid) / _MIB),
        ):
            figures.add(name, contender.name, what, unit, value)


async def _nothing(_port: int) -> str:
    await asyncio.sleep(5)
    return "for comparison"


async def _hold(crowd: Crowd, seconds: float = _HOLD_SECONDS) -> str:
    """Wait until all are closed, or until the time limit."""
    count = len(crowd.sockets)
    began = time.monotonic()
    while crowd.closed() < count and time.monotonic() - began < seconds:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return f"{crowd.closed()} of {count} closed after {time.monotonic() - began:.1f} s"


async def _unread_pages(port: int) -> str:
    async with Crowd(port) as crowd:
        await crowd.open(20)
        await crowd.send(unread_page(token(_READER)))
        return await _hold(crowd)


async def _head_requests(port: int) -> str:
    page = http_load.request(
        "HEAD", f"/api/messages?limit={_MESSAGES}", {"Authorization": f"Bearer {token(_READER)}"}
    )
    async with Crowd(port, receive_buffer=65_536) as crowd:
        await crowd.open(4)
        for _ in range(50):
            await crowd.send(page)
            await asyncio.gather(
                *[asyncio.get_running_loop().sock_recv(one, 65_536) for one in crowd.sockets]
            )
    return "200 answered"


async def _unfinished_heads(port: int) -> str:
    async with Crowd(port) as crowd:
        await crowd.open(300)
        for part in unfinished_head():
            if not await crowd.send(part):
                break
        return await _hold(crowd)


async def _dripping_heads(port: int) -> str:
    async with Crowd(port) as crowd:
        await crowd.open(300)
        await crowd.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for number in range(12):
            await crowd.send(b"X-Filler-%d: x\r\n" % number, seconds=1)
            await asyncio.sleep(1)
        return f"{crowd.closed()} of {len(crowd.sockets)} closed after 12 s"


async def _unread_files(port: int) -> str:
    async with Crowd(port) as crowd:
        await crowd.open(330)
        await crowd.send(large_file(), seconds=1)
        return await _hold(crowd)


async def _unread_resumes(port: int) -> str:
    async with await Socket.open(port, token(_READER)) as first:
        hello = await first.frame()
    assert hello is not None
    since = f"/ws?since={hello['epoch']}.{0:016x}"
    async with Crowd(port) as crowd:
        for user in _READERS * 20:  # the reads of one user have bounds of their own
            (one,) = await crowd.open(1)
            opening = handshake(since, {"Authorization": f"Bearer {token(user)}"})
            await asyncio.get_running_loop().sock_sendall(one, opening)
        return await _hold(crowd)


async def _handshakes(port: int) -> str:
    """Send as many subprotocols and parameters as a request head can have."""
    offered = handshake("/ws", {"Sec-WebSocket-Protocol": "x," * 7000})
    asked = handshake(
        "/ws?" + "&".join(f"p{n}" for n in range(8000)),
        {"Authorization": f"Bearer {token(_READER)}"},
    )
    taken = 0
    for data in (offered, asked):
        for _ in range(50):
            async with Crowd(port, receive_buffer=1 << 20) as crowd:
                (one,) = await crowd.open(1)
                await crowd.send(data)
                while part := await asyncio.get_running_loop().sock_recv(one, 1 << 20):
                    taken += len(part)
                    if part.endswith((b"}", b"\r\n\r\n")):
                        break
    return f"answers of {taken / 100:,.0f} bytes"


async def _stopped(server: Server) -> float:
    async with Crowd(server.port) as crowd:
        await crowd.open(20)
        await crowd.send(unread_page(token(_READER)))
        await asyncio.sleep(1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.process.wait)
        return time.monotonic() - began


ATTACKS: dict[str, Attack] = {
    "nothing": Attack(_nothing),
    "20 pages of 1,000 long messages, not read": Attack(_unread_pages, messages=_MESSAGES),
    "200 HEADs of such a page": Attack(_head_requests, messages=_MESSAGES),
    "300 unfinished heads of 120 × 16 KB": Attack(_unfinished_heads),
    "300 heads that drip": Attack(_dripping_heads),
    "330 readers of a file that read nothing, 256 descriptors": Attack(
        _unread_files, prefix=("prlimit", "--nofile=256:256")
    ),
    "60 sockets that resume 1,000 long messages and read nothing": Attack(
        _unread_resumes, messages=_MESSAGES
    ),
    "100 handshakes with 7,000 subprotocols or 8,000 parameters": Attack(_handshakes),
}
