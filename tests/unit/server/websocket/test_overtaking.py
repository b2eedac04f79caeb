"""What goes on while a Task is pending: pings are answered, and who is gone is found."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from chatsvc.api.command import Command, CommandReply
from chatsvc.auth.principal import Principal
from chatsvc.log.base import Appended
from chatsvc.server.websocket.budget import ANSWERS_BYTES, TURN_UNITS
from chatsvc.server.websocket.socket import Socket
from chatsvc.wire import frames
from chatsvc_conformance.framing import client_frame
from tests.unit.support.socket_floods import PING, closed, feed, pongs, settled
from tests.unit.support.socket_world import World, kinds, send, turns
from tests.unit.support.sockets import FakeTransport, attach


class Remote:
    """An authenticator that answers when the test says so."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    def known(self, token: str) -> Principal | None:
        return None

    async def authenticate(self, token: str) -> Principal:
        await self.gate.wait()
        return Principal("alice", int(time.time()) + 999)


def ping(ref: str) -> bytes:
    return client_frame(frames.TEXT, b'{"type":"ping","ref":"%b"}' % ref.encode())


AUTH = client_frame(frames.TEXT, b'{"type":"auth","token":"t","ref":"a"}')


class Pending:
    """A socket with an ``auth`` that is asked about."""

    def __init__(self, behind: bytes = b"", capacity: int | None = None) -> None:
        self.remote = Remote()
        self.world = World(authenticator=self.remote, unacked_max=200)
        self.socket: Socket
        self.transport: FakeTransport
        self.socket, self.transport = self.world.open()
        if capacity is not None:
            self.transport = attach(self.socket, capacity)
        self.socket.data_received(AUTH + behind)

    def sent(self) -> list[str]:
        return [content for content, _ in self.world.asked]


async def test_a_ping_is_answered_at_once_before_sends_that_wait() -> None:
    one = Pending(send("1") + ping("p") + PING)
    await turns()
    one.socket.data_received(send("2") + ping("q"))
    await turns()
    assert kinds(one.transport) == ["hello", "p", "q"]
    assert pongs(one.transport) == 1, "control frames too"
    assert one.sent() == []
    one.remote.gate.set()
    await turns()
    assert one.sent() == ["1", "2"]
    assert kinds(one.transport) == ["hello", "p", "q", "a"]
    one.socket.data_received(send("3"))
    assert one.sent() == ["1", "2", "3"]
    assert one.transport.reading


async def test_a_ping_is_answered_while_a_send_is_looked_up() -> None:
    world = World()
    gate = asyncio.Event()

    async def look() -> Appended:
        await gate.wait()
        return Appended(1, b"", False)

    world.next_future = lambda _: asyncio.get_running_loop().create_task(look())
    socket, transport = world.open()
    socket.data_received(send("looked up") + ping("p"))
    await turns()
    assert kinds(transport) == ["hello", "p"]
    gate.set()
    await turns()
    assert kinds(transport) == ["hello", "p", "looked up"]


@pytest.mark.parametrize(
    "behind", [b"", ping("p"), send("x"), send("x")[:9]], ids=["nothing", "ping", "send", "half"]
)
async def test_a_client_that_is_gone_is_found(behind: bytes) -> None:
    one = Pending(behind)
    await turns()
    one.world.beat(one.socket)
    assert not closed(one.transport)
    one.world.beat(one.socket)
    assert closed(one.transport) == 4103


async def test_a_client_that_answers_heartbeats_is_kept() -> None:
    one = Pending(send("x"))
    for _ in range(4):
        one.world.beat(one.socket)
        one.socket.data_received(client_frame(frames.PONG))
    assert not closed(one.transport)


async def test_no_more_is_held_than_a_turn_runs() -> None:
    one = Pending()
    data = b"".join(send(str(at)) for at in range(1000))
    for at in range(0, len(data), 500):
        if not one.transport.reading:
            break
        one.socket.data_received(data[at : at + 500])
        await turns()
    assert TURN_UNITS <= len(one.socket.events) < 2 * TURN_UNITS
    assert not one.transport.reading
    await turns()
    assert not one.socket.turn_due, "nothing turns while it waits"
    one.remote.gate.set()
    await turns()
    await settled(one.socket)
    assert one.sent() == [str(at) for at in range(len(one.sent()))]
    assert len(one.sent()) >= TURN_UNITS
    assert one.transport.reading


async def test_large_frames_are_held_by_their_size() -> None:
    large = [client_frame(frames.TEXT, b"%d" % at + b" " * 16_000) for at in range(20)]
    one = Pending(b"".join(large[:10]))
    assert one.transport.reading
    one.socket.data_received(b"".join(large[10:]))
    assert not one.transport.reading
    one.remote.gate.set()
    await turns()
    await settled(one.socket)
    assert kinds(one.transport) == ["hello", "a", *["error"] * 20]
    assert one.transport.reading


async def test_a_flood_of_pings_in_one_read_is_answered_in_turns() -> None:
    one = Pending()
    one.socket.data_received(PING * TURN_UNITS * 3 + send("x") + ping("last"))
    assert not one.transport.reading
    await settled(one.socket)
    assert pongs(one.transport) == 3 * TURN_UNITS
    assert kinds(one.transport) == ["hello", "last"]
    assert one.transport.reading
    assert one.sent() == []


async def test_a_flood_of_pings_is_closed_by_the_rate() -> None:
    one = Pending(send("x"))
    await feed(one.transport, PING * 2000)
    await settled(one.socket)
    assert closed(one.transport) == 1008
    one.remote.gate.set()
    await turns()
    assert one.sent() == []


async def test_fragments_without_end_are_charged_too() -> None:
    one = Pending()
    start = client_frame(frames.TEXT, b"x", fin=False)
    more = client_frame(frames.CONTINUATION, b"x", fin=False)
    await feed(one.transport, start + more * 2000)
    await settled(one.socket)
    assert closed(one.transport) == 1008


async def test_answers_that_are_not_taken_stop_the_reading() -> None:
    one = Pending(capacity=0)
    one.socket.write(b"\x89\x00" * 50_000)
    count = 0
    while one.transport.reading and count < 900:
        one.socket.data_received(ping("r" * 64))
        await turns()
        count += 1
    assert one.socket.answers_unsent > ANSWERS_BYTES
    held = len(one.transport.buffer)
    one.socket.data_received(ping("later"))
    await turns()
    assert len(one.transport.buffer) == held
    one.transport.drain()
    await settled(one.socket)
    one.transport.drain()
    assert kinds(one.transport).count("r" * 64) == count
    assert "later" in kinds(one.transport)
    assert one.transport.reading


async def test_what_is_refused_and_what_ends_the_socket_have_their_turn() -> None:
    bad = client_frame(frames.TEXT, b'{"type":"ping","ref":""}')
    one = Pending(bad + send("x") + client_frame(frames.CLOSE, b"\x03\xe8"))
    await turns()
    assert kinds(one.transport) == ["hello"]
    assert not one.transport.is_closing()
    one.remote.gate.set()
    await turns()
    assert kinds(one.transport) == ["hello", "a", "error"]
    assert one.sent() == ["x"]
    assert one.transport.is_closing()


class Leave(msgspec.Struct, tag="leave", forbid_unknown_fields=True, kw_only=True):
    """Be closed."""

    ref: str | None = None


async def test_nothing_runs_behind_one_that_overtakes_and_closes() -> None:
    def leave(connection: Any, request: Leave) -> CommandReply:
        connection.close(1012, "restart")
        return CommandReply(None)

    world = World([Command(request=Leave, answers=(), handler=leave, overtakes=True)], Remote())
    socket, transport = world.open()
    left = client_frame(frames.TEXT, b'{"type":"leave"}')
    socket.data_received(AUTH + send("x") + left + ping("p") + PING)
    await turns()
    assert kinds(transport) == ["hello"]
    assert closed(transport) == 1012
    assert not socket.events, "skipped up to the peer's close"
    socket.data_received(client_frame(frames.CLOSE, b"\x03\xf4"))
    assert transport.is_closing()
    assert world.asked == []


async def test_a_close_of_ours_reads_on_to_the_peers() -> None:
    one = Pending(send("x"))
    one.socket.close(1012, "restart")
    await turns()
    one.socket.data_received(client_frame(frames.CLOSE, b"\x03\xf4"))
    await turns()
    assert one.transport.is_closing()
    assert one.sent() == []


async def test_a_socket_that_is_lost_leaves_nothing() -> None:
    one = Pending(send("x"))
    one.transport.close()
    one.socket.connection_lost(None)
    one.remote.gate.set()
    await turns()
    assert one.sent() == []
    assert one.socket.pending is None
    assert not one.socket.events
