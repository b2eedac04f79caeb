"""An idle socket costs what its protocol needs: aiohttp lets go of it at the upgrade."""

from __future__ import annotations

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatsvc.app.lifecycle import Service
from chatsvc.auth.minting import mint
from chatsvc.features.messages.service import AllowAll
from chatsvc.server.http.connection import BoundedConnection
from chatsvc.server.websocket.socket import Socket
from chatsvc.settings.table import load
from chatsvc_conformance.raw_socket import handshake

SECRET = "0123456789abcdef0123456789abcdef"
FEW, MANY = 50, 250
BOUND = 4096
"""Bytes of the interpreter's own memory; about 2,000 of them are needed (aiohttp: 14,000)."""


def connect(port: int, number: int) -> socket.socket:
    token = mint(SECRET.encode(), f"idle{number}", 3600)
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    try:
        shake_hands(client, port, token)
    except BaseException:
        client.close()
        raise
    return client


def shake_hands(client: socket.socket, port: int, token: str) -> None:
    lines = [f"Authorization: Bearer {token}"]
    client.sendall(handshake(f"127.0.0.1:{port}", "/ws", lines))
    received = b""
    while b'"type":"hello"' not in received:
        piece = client.recv(4096)
        assert piece, received
        received += piece


def alive(kind: type, ours: Callable[[Any], bool] = lambda _: True) -> int:
    gc.collect()
    return sum(1 for thing in gc.get_objects() if issubclass(type(thing), kind) and ours(thing))


async def test_an_idle_socket_is_small_and_keeps_nothing_of_aiohttp(tmp_path: Path) -> None:
    settings = load(
        {"DATA_DIR": str(tmp_path), "JWT_SECRET": SECRET, "PORT": "0", "LOG_LEVEL": "error"}
    )
    service = Service(settings, AllowAll())
    clients: list[socket.socket] = []
    running = await service.start()
    try:
        port = int(running.url.rpartition(":")[2])

        async def connect_up_to(count: int) -> int:
            while len(clients) < count:
                clients.append(await asyncio.to_thread(connect, port, len(clients)))
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        before = await connect_up_to(FEW)
        tasks = len(asyncio.all_tasks())
        after = await connect_up_to(MANY)
        # Those of this test: a test before it that failed keeps what it had.
        assert alive(Socket, lambda one: one.user.startswith("idle")) == MANY
        assert alive(BoundedConnection) <= 1  # the last one may be on its way out
        assert len(asyncio.all_tasks()) <= tasks + 1
        assert (after - before) / (MANY - FEW) < BOUND
    finally:
        tracemalloc.stop()
        for client in clients:
            client.close()
        await service.stop()
