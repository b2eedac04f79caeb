"""Whatever sends, drops, resumes, slow reading and a store that comes and goes do to one another:
everybody gets what is theirs, in order, or is told of a gap whose range, fetched, completes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatsvc.core.ids import parse_id
from chatsvc.core.page import Bounds
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Plan, Resumer
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from testkit.records import record
from testkit.selecting import SELECTION
from tests.unit.support.slow_store import SlowStore

EPOCH = "epoch"
ROOM = 300
"""Unsent bytes at which a slow socket counts as full: one message or two."""
BUFFER = 4 * ROOM
"""Unsent bytes beyond which a live connection falls behind: half a dozen messages, or one
commit of four for a connection that is slow already."""
MOST_TURNS = 5_000

CONVERSATIONS = [("a", "b"), ("a", "c"), ("a", "b", "c"), ("b", "c")]
DEVICES = [("a", "desk", False), ("a", "phone", True), ("b", "desk", False), ("c", "desk", False)]


class Transport:
    """The server's end of a socket; what it has not let go of is lost when it is cut."""

    def __init__(self, connection: Connection, client: Client) -> None:
        self.connection = connection
        self.client = client
        self.buffer = bytearray()
        self.full = False
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed, "uvloop raises for this"
        self.buffer += data
        if not self.client.slow:
            self.flush()
        elif len(self.buffer) > ROOM and not self.full:
            self.full = True
            self.connection.pause_writing()

    def writelines(self, pieces: Sequence[bytes]) -> None:
        self.write(b"".join(pieces))

    def flush(self) -> None:
        data, self.buffer = bytes(self.buffer), bytearray()
        self.client.feed(data)
        if self.full:
            self.full = False
            self.connection.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.client.lost, self.connection)


@dataclass(eq=False)
class Client:
    """One device: what it was given, and the cursor it comes back with."""

    world: World
    user: str
    device: str
    echo: bool
    slow: bool = False
    start: int | None = None
    position: int = 0
    received: list[int] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    caught_up: bool = False
    dropped: bool = False
    cut: bool = False
    connections: int = 0
    connection: Connection | None = None
    resuming: asyncio.Task[None] | None = None

    def connect(self) -> None:
        if self.connection is None:
            self.connections += 1
            self.connection = Connection(
                self.user,
                f"{self.device}/{self.connections}",
                echo=self.echo,
                buffer_limit=BUFFER,
            )
            transport = Transport(self.connection, self)
            self.connection.transport = transport  # type: ignore[assignment]
            self.resuming = asyncio.create_task(self._resume(self.connection))

    async def _resume(self, connection: Connection) -> None:
        resumer = self.world.resumer
        if self.start is None:
            self.start = self.position = self.world.tail.head
            plan = Plan(self.position, True)
        else:
            plan = await resumer.plan(self.user, resumer.cursor(self.position))
        await resumer.run(connection, plan)

    def drop(self) -> None:
        if self.connection is not None and self.connection.transport is not None:
            self.dropped = True
            self.connection.transport.abort()

    def lost(self, connection: Connection) -> None:
        self.cut |= not self.dropped
        self.dropped = False
        connection.connection_lost(None)
        self.world.hub.discard(connection)
        self.caught_up = False
        self.connection = None

    def feed(self, data: bytes) -> None:
        while data:
            size, head = data[1], 2
            if size == 126:
                size, head = int.from_bytes(data[2:4], "big"), 4
            self.frame(msgspec.json.decode(data[head : head + size]))
            data = data[head + size :]

    def frame(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "message":
            message_id = parse_id(frame["id"])
            assert message_id > self.position, "given again, or out of order"
            self.received.append(message_id)
            self.position = message_id
        elif frame["type"] == "gap":
            low, high = parse_id(frame["from"]), parse_id(frame["to"])
            assert self.position <= high, "a gap behind what was given"
            self.gaps.append((low, high))
            self.position = high
        elif frame["type"] == "caught_up":
            self.caught_up = True
            self.position = max(self.position, parse_id(frame["cursor"].split(".")[1]))

    def mine(self, *, replayed: bool = False) -> list[int]:
        """What it should have been given since it first came; with ``replayed``, what it may
        have been given: what was sent in its device's name is replayed, and not sent live."""
        assert self.start is not None
        return [
            known.id
            for known in self.world.store.records
            if known.id > self.start
            and self.user in known.audience
            and (
                known.sender != self.user
                or (self.echo and (replayed or known.origin != self.device))
            )
        ]


class World:
    """Tail, hub, fan-out and resume as they are; clients and store of our own."""

    def __init__(self, recent_bytes: int, max_messages: int) -> None:
        self.tail = Tail(recent_bytes=recent_bytes)
        self.hub = Hub()
        self.store = SlowStore(self.tail)
        self.history = History(self.store, self.tail, breaker_seconds=0.0)  # type: ignore[arg-type]
        self.resumer = Resumer(
            epoch=EPOCH,
            tail=self.tail,
            hub=self.hub,
            backfill=self.history.records,
            selection=SELECTION,
            max_messages=max_messages,
        )
        fanout = Fanout(self.hub, SELECTION, Acknowledgements(), self.resumer.take_over)
        self.tail.listen(fanout.accept)
        self.clients = [Client(self, *device) for device in DEVICES]

    def send(self, conversation: int, sender: int, count: int) -> None:
        """A commit: one step of the loop, as the log's."""
        to = CONVERSATIONS[conversation]
        user = to[sender % len(to)]
        first = len(self.store.records) + 1
        batch = [
            record(number, to=to, sender=user, origin=("desk", "phone")[number % 2])
            for number in range(first, first + count)
        ]
        self.store.records += batch
        self.tail.extend(batch)

    def advance(self, count: int) -> None:
        """The store has taken so many more."""
        waiting = [known.id for known in self.store.records if known.id > self.tail.watermark]
        if waiting and not self.store.away:
            self.tail.advance(waiting[: max(1, count)][-1])

    async def settle(self) -> None:
        """All is well again, and everybody comes back, until there is nothing to do."""
        self.store.away = False
        self.store.fails_in = 0
        for _ in range(MOST_TURNS):
            for client in self.clients:
                client.slow = False
                if client.connection is None:
                    client.connect()
                elif client.connection.transport is not None:
                    client.connection.transport.flush()  # type: ignore[attr-defined]
            await asyncio.sleep(0)
            if all(client.caught_up for client in self.clients) and not any(
                client.connection is None or client.connection.waiting for client in self.clients
            ):
                return
        pytest.fail("it does not settle")

    async def require_honest(self) -> None:
        for client in self.clients:
            assert client.received == sorted(set(client.received))
            assert set(client.received) <= set(client.mine(replayed=True)), "another's"
            missing = set(client.mine()) - set(client.received)
            for low, high in client.gaps:
                page = await self.history.user_page(
                    client.user, Bounds(10_000, after=low, before=high + 1)
                )
                assert page.complete
                missing -= {entry.id for entry in page.entries}
                assert not any(low < known <= high for known in client.received if known > low), (
                    "given, though announced as not given"
                )
            assert not missing, f"{client.user} was not told of {len(missing)} that it lacks"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 3), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("store"), st.sampled_from((1, 3, 100))),
        st.tuples(st.just("turn"), st.integers(1, 4)),
        st.tuples(st.just("connect"), st.integers(0, 3), st.integers(0, 4)),
        st.tuples(st.just("trip"), st.integers(0, 3), st.integers(1, 5), st.integers(0, 4)),
        st.tuples(st.sampled_from(("drop", "slow", "fast")), st.integers(0, 3)),
        st.tuples(st.just("burst"), st.integers(0, 3), st.integers(0, 2), st.integers(4, 12)),
        st.tuples(st.sampled_from(("away", "back"))),
    ),
    min_size=20,
    max_size=80,
)


async def play(world: World, steps: list[tuple[Any, ...]], *, flaky: bool = True) -> None:
    """``connect`` takes a client and which read of the store from then on fails, 0: none."""
    await world.settle()
    for name, *numbers in steps:
        if name in ("send", "burst"):
            world.send(*numbers)
        elif name == "store":
            world.advance(*numbers)
        elif name == "turn":
            for _ in range(numbers[0]):
                await asyncio.sleep(0)
        elif name in ("away", "back"):
            world.store.away = name == "away"
        elif name == "connect":
            world.store.fails_in = numbers[1] if flaky else 0
            world.clients[numbers[0]].connect()
        elif name == "trip":
            await trip(world, *numbers[:2], fails_in=numbers[2] if flaky else 0)
        else:
            act(world.clients[numbers[0]], name)
    await world.settle()
    await world.require_honest()


async def trip(world: World, number: int, missed: int, *, fails_in: int) -> None:
    """Away while messages come and are stored, and back."""
    client = world.clients[number]
    client.drop()
    await asyncio.sleep(0)
    assert client.connection is None
    world.send(2, number, missed)
    world.advance(100)
    world.store.fails_in = fails_in
    client.connect()


def act(client: Client, name: str) -> None:
    if name == "drop":
        client.drop()
    else:
        client.slow = name == "slow"
        transport = client.connection.transport if client.connection else None
        if not client.slow and transport is not None:
            transport.flush()  # type: ignore[attr-defined]


@given(STEPS, st.sampled_from([1, 4_000, 1 << 30]), st.sampled_from([10_000, 10_000, 3, 0]))
@example([("trip", 2, 3, 2)], 1, 10_000)  # the store goes after the resume was promised
@example([("trip", 2, 3, 1)], 1, 10_000)  # and before
@settings(max_examples=150, deadline=None)
def test_exactly_what_is_theirs_or_an_announced_gap(
    steps: list[tuple[Any, ...]], recent_bytes: int, max_messages: int
) -> None:
    async def run() -> None:
        await play(World(recent_bytes, max_messages), steps)

    asyncio.run(run())


@given(STEPS, st.sampled_from([1, 2_000, 1 << 30]))
@settings(max_examples=75, deadline=None)
def test_no_gap_without_need(steps: list[tuple[Any, ...]], recent_bytes: int) -> None:
    """With a store that answers, and less missed than the bound, nothing is left out."""

    async def run() -> None:
        world = World(recent_bytes, max_messages=10_000)
        await play(world, [step for step in steps if step[0] != "away"], flaky=False)
        assert not any(client.gaps for client in world.clients)
        for client in world.clients:
            assert set(client.mine()) <= set(client.received) <= set(client.mine(replayed=True))
        assert not any(client.cut for client in world.clients), "who reads in the end is not cut"

    asyncio.run(run())


async def test_bursts_do_make_connections_fall_behind() -> None:
    """Without this, the model might never try it."""
    world = World(1, max_messages=10_000)
    for client in world.clients:
        client.connect()
    await world.settle()
    act(world.clients[2], "slow")
    for _ in range(4):
        world.send(2, 0, 4)
        world.advance(100)
        for _ in range(5):
            await asyncio.sleep(0)
    assert world.resumer.fell_behind == 1
    assert world.tail.floor == world.tail.head, "what is missing is in the store alone"
    world.send(0, 0, 2)
    await world.settle()
    await world.require_honest()
    assert not world.clients[2].cut
    assert not world.clients[2].gaps


async def test_the_model_sees_a_message_left_out() -> None:
    """Without this, a model that sees nothing would pass as well."""
    world = World(1 << 30, max_messages=10_000)
    for client in world.clients:
        client.connect()
    await world.settle()
    world.send(0, 0, 3)
    for _ in range(10):
        await asyncio.sleep(0)
    del world.clients[2].received[1]
    with pytest.raises(AssertionError, match="not told of 1"):
        await world.require_honest()
