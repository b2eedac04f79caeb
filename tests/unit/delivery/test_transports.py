"""The kernel's share of a connection, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import sys
import termios
from collections.abc import AsyncIterator
from typing import cast

import pytest

from chatsvc.delivery.transports import reset, unsent
from testkit.waiting import until
from tests.unit.support.sockets import attach, connection


class Pair:
    """A server's transport, and a client's socket that is read by hand."""

    def __init__(self, transport: asyncio.Transport, client: socket.socket) -> None:
        self.transport = transport
        self.client = client

    async def read(self, size: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.client, size)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(cast(asyncio.Transport, transport))

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    server = await loop.create_server(Server, sock=listener)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await loop.sock_connect(client, listener.getsockname())
    yield Pair(await made, client)
    client.close()
    (await made).abort()
    server.close()
    await server.wait_closed()


async def test_what_the_kernel_holds_is_unsent_too(pair: Pair) -> None:
    assert unsent(pair.transport) == 0
    pair.transport.write(b"x" * 500_000)
    held = pair.transport.get_write_buffer_size()
    assert 500_000 > unsent(pair.transport) > held
    before = unsent(pair.transport)
    for _ in range(8):
        await pair.read(1024)
    await until(lambda: unsent(pair.transport) < before)
    assert pair.transport.get_write_buffer_size() == held, "which says nothing of it yet"


async def test_nothing_is_left_to_a_peer_that_is_reset(pair: Pair) -> None:
    pair.transport.write(b"x" * 500_000)
    reset(pair.transport)
    await until(pair.transport.is_closing)
    received = 0
    with pytest.raises(ConnectionResetError):
        while data := await pair.read(65_536):
            received += len(data)
    assert received < 100_000
    assert unsent(pair.transport) < 500_000
    reset(pair.transport)  # gone already: nothing happens


class OfDescriptor(asyncio.Transport):
    """A transport with 100 bytes unsent, whose socket has this descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def get_write_buffer_size(self) -> int:
        return 100

    def get_extra_info(self, name: str, default: object = None) -> object:
        assert name == "socket"
        return self

    def fileno(self) -> int:
        return self.descriptor


@pytest.mark.parametrize("descriptor", [-1, 0, 1, 7])
async def test_the_kernel_is_asked_by_any_open_descriptor(
    monkeypatch: pytest.MonkeyPatch, descriptor: int
) -> None:
    """0 too: a socket gets it where the process was started without a standard input."""
    asked: list[tuple[int, int, int]] = []

    def ioctl(descriptor: int, request: int, buffer: bytes) -> bytes:
        asked.append((descriptor, request, len(buffer)))
        return (23).to_bytes(len(buffer), sys.byteorder)

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    found = unsent(OfDescriptor(descriptor))
    if descriptor < 0:
        assert (found, asked) == (100, [])
    else:
        an_int = 4
        assert (found, asked) == (123, [(descriptor, termios.TIOCOUTQ, an_int)])


async def test_a_transport_without_a_socket_tells_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fcntl.ioctl", pytest.fail)
    one = connection("alice")
    transport = attach(one, capacity=0)
    transport.write(b"x" * 100)
    assert unsent(transport) == 100
    reset(transport)
    assert transport.aborted
