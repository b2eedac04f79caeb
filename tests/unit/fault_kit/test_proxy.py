"""Each fault of the proxy, seen from both ends of a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.fault.kit.proxy import BOTH, Direction, FaultProxy

SOON = 5.0
"""Seconds in which what should happen has happened."""
QUIET = 0.1
"""Seconds of silence taken as nothing coming."""


@dataclass
class Peer:
    """One accepted connection of the server behind the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass
class Server:
    """Keeps what it accepts; says nothing by itself."""

    port: int = 0
    peers: asyncio.Queue[Peer] = field(default_factory=asyncio.Queue)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    known = Server()
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await known.peers.put(Peer(reader, writer))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    known.port = listening.sockets[0].getsockname()[1]
    yield known
    listening.close()
    for writer in writers:
        writer.transport.abort()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(("127.0.0.1", server.port)) as running:
        yield running


@pytest.fixture
async def pair(server: Server, proxy: FaultProxy) -> AsyncIterator[tuple[Peer, Peer]]:
    """(client's end, server's end) of a connection that has carried a byte each way."""
    client = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    async with asyncio.timeout(SOON):
        behind = await server.peers.get()
        client.writer.write(b"?")
        assert await behind.reader.readexactly(1) == b"?"
        behind.writer.write(b"!")
        assert await client.reader.readexactly(1) == b"!"
    yield client, behind
    client.writer.transport.abort()


async def got(peer: Peer, size: int) -> bytes:
    async with asyncio.timeout(SOON):
        return await peer.reader.readexactly(size)


async def silent(peer: Peer) -> bool:
    """Whether neither a byte nor an end comes for a while."""
    try:
        async with asyncio.timeout(QUIET):
            await peer.reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_forwards_whole_and_in_order(pair: tuple[Peer, Peer]) -> None:
    client, behind = pair
    payload = bytes(range(256)) * 4096
    client.writer.write(payload)
    behind.writer.write(payload[::-1])
    assert await got(behind, len(payload)) == payload
    assert await got(client, len(payload)) == payload[::-1]


async def test_passes_on_a_half_close_and_goes_on(pair: tuple[Peer, Peer]) -> None:
    client, behind = pair
    client.writer.write_eof()
    async with asyncio.timeout(SOON):
        assert await behind.reader.read() == b""
    behind.writer.write(b"still here")
    assert await got(client, 10) == b"still here"


async def test_cut_by_reset(proxy: FaultProxy, pair: tuple[Peer, Peer]) -> None:
    assert await proxy.cut(reset=True) == 1
    for peer in pair:
        with pytest.raises(ConnectionResetError):
            await got(peer, 1)
    assert proxy.open_connections == 0


async def test_cut_by_fin(proxy: FaultProxy, pair: tuple[Peer, Peer]) -> None:
    assert await proxy.cut(reset=False) == 1
    for peer in pair:
        async with asyncio.timeout(SOON):
            assert await peer.reader.read() == b""


async def test_a_reset_by_the_target_reaches_the_client(pair: tuple[Peer, Peer]) -> None:
    client, behind = pair
    client.writer.write(b"unread")  # closing with unread data resets (RFC 2525, 2.17)
    await got(behind, 1)
    behind.writer.transport.abort()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await got(client, 1)


async def test_a_new_connection_after_a_cut(
    server: Server, proxy: FaultProxy, pair: tuple[Peer, Peer]
) -> None:
    await proxy.cut()
    client = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    client.writer.write(b"again")
    async with asyncio.timeout(SOON):
        behind = await server.peers.get()
    assert await got(behind, 5) == b"again"
    assert proxy.accepted == 2
    client.writer.transport.abort()


@pytest.mark.parametrize("direction", BOTH)
async def test_half_close_in_one_direction(
    proxy: FaultProxy, pair: tuple[Peer, Peer], direction: Direction
) -> None:
    client, behind = pair
    ended, going_on = (behind, client) if direction is Direction.UP else (client, behind)
    proxy.half_close(direction)
    async with asyncio.timeout(SOON):
        assert await ended.reader.read() == b""
    ended.writer.write(b"other way")
    assert await got(going_on, 9) == b"other way"


@pytest.mark.parametrize("direction", BOTH)
async def test_black_hole_in_one_direction(
    proxy: FaultProxy, pair: tuple[Peer, Peer], direction: Direction
) -> None:
    client, behind = pair
    sender, receiver = (client, behind) if direction is Direction.UP else (behind, client)
    proxy.black_hole(direction)
    sender.writer.write(b"later")
    assert await silent(receiver)
    receiver.writer.write(b"now")
    assert await got(sender, 3) == b"now"
    proxy.heal()
    assert await got(receiver, 5) == b"later"


async def test_a_black_hole_swallows_the_end_of_a_client(
    proxy: FaultProxy, pair: tuple[Peer, Peer]
) -> None:
    client, behind = pair
    proxy.black_hole()
    client.writer.transport.abort()
    assert await silent(behind)
    proxy.heal()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await got(behind, 1)


async def test_a_black_hole_takes_new_connections_and_serves_them_later(
    server: Server, proxy: FaultProxy
) -> None:
    proxy.black_hole()
    client = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    client.writer.write(b"hello")
    assert await silent(client)
    assert server.peers.empty()
    proxy.heal()
    async with asyncio.timeout(SOON):
        behind = await server.peers.get()
    assert await got(behind, 5) == b"hello"
    client.writer.transport.abort()


async def test_black_holed_connections_can_be_cut(
    proxy: FaultProxy, pair: tuple[Peer, Peer]
) -> None:
    proxy.black_hole()
    assert await proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await got(pair[0], 1)


@pytest.mark.parametrize("direction", BOTH)
async def test_delay(proxy: FaultProxy, pair: tuple[Peer, Peer], direction: Direction) -> None:
    client, behind = pair
    sender, receiver = (client, behind) if direction is Direction.UP else (behind, client)
    proxy.delay(100 * SOON, directions=(direction,))
    sender.writer.write(b"x")
    assert await silent(receiver)
    receiver.writer.write(b"other way")
    assert await got(sender, 9) == b"other way"
    proxy.heal()
    assert await got(receiver, 1) == b"x"


async def test_a_delay_ends(proxy: FaultProxy, pair: tuple[Peer, Peer]) -> None:
    client, behind = pair
    proxy.delay(QUIET, jitter=QUIET)
    client.writer.write(b"x")
    assert await got(behind, 1) == b"x"


async def test_throttle(proxy: FaultProxy, pair: tuple[Peer, Peer]) -> None:
    client, behind = pair
    proxy.throttle(20, directions=(Direction.UP,))
    client.writer.write(bytes(10_000_000))
    await got(behind, 3)
    assert proxy.forwarded[Direction.UP] < 1_000
    proxy.heal()
    await got(behind, 10_000_000 - 3)


async def test_refuse_and_listen_again_on_the_same_port(
    server: Server, proxy: FaultProxy, pair: tuple[Peer, Peer]
) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    client, behind = pair
    client.writer.write(b"open ones go on")
    assert await got(behind, 15) == b"open ones go on"
    proxy.listen()
    again = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    async with asyncio.timeout(SOON):
        await server.peers.get()
    again.writer.transport.abort()


async def test_a_target_that_is_away_resets_the_client() -> None:
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    async with FaultProxy(("127.0.0.1", port)) as proxy:
        client = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await got(client, 1)
        client.writer.transport.abort()


async def test_counts_what_it_forwards(proxy: FaultProxy, pair: tuple[Peer, Peer]) -> None:
    client, behind = pair
    client.writer.write(b"12345")
    await got(behind, 5)
    assert proxy.forwarded == {Direction.UP: 6, Direction.DOWN: 1}
