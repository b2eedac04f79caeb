"""Any interleaving of sends, drops, resumes and slow reading gives each participant exactly
the set it should have, in order, or an announced gap whose range, fetched, completes it."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds, RecordPage
from chatsvc.core.record import Record
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.tail import Tail
from chatsvc.storage.history.pages import entry_of
from testkit.drafts import record
from testkit.selecting import SELECTION
from tests.unit.support.sockets import FakeTransport, attach, connection, texts

USERS = ("ann", "ben", "cem")
CLIENTS = ((0, "ann", False), (1, "ann", True), (2, "ben", True), (3, "cem", False))


class World:
    """The heart of the service, with a store that may be away."""

    def __init__(self) -> None:
        self.truth: list[Record] = []
        self.tail = Tail(recent_bytes=6_000)
        self.hub = Hub()
        self.away = False
        self.resumer = Resumer(
            epoch="e",
            tail=self.tail,
            hub=self.hub,
            backfill=self,
            selection=SELECTION,
            max_messages=12,
        )
        self.tail.listen(
            Fanout(self.hub, SELECTION, Acknowledgements(), self.resumer.take_over).accept
        )
        self.tasks: set[asyncio.Task[None]] = set()

    def oldest_kept(self) -> int:
        return 0

    async def user_page(
        self, user: str, bounds: Bounds, kinds: frozenset[str] | None = None
    ) -> RecordPage:
        found = await self._stored(user, bounds)
        page = [entry_of(one) for one in found[: min(bounds.limit, 3)]]
        has_more = len(page) < len(found)
        return RecordPage(page, page[-1].id if has_more else bounds.before - 1, has_more, True)

    async def count_user(
        self, user: str, bounds: Bounds, kinds: frozenset[str] | None = None
    ) -> int:
        everything = [one for one in self.truth if user in one.audience and one.id > bounds.after]
        await self._stored(user, bounds)
        return min(bounds.limit, len(everything))

    async def _stored(self, user: str, bounds: Bounds) -> list[Record]:
        floor = self.tail.floor
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")
        return [
            one
            for one in self.truth
            if user in one.audience and bounds.after < one.id < bounds.before and one.id <= floor
        ]

    def fetch(self, user: str, after: int, up_to: int) -> list[Record]:
        """What a client gets for a gap over HTTP."""
        return [one for one in self.truth if user in one.audience and after < one.id <= up_to]


class Client:
    """As the protocol asks: keeps its cursor, fetches gaps, comes back with ``since``."""

    def __init__(self, world: World, number: int, user: str, echo: bool) -> None:
        self.world = world
        self.user = user
        self.device = f"device{number}"
        self.echo = echo
        self.cursor: str | None = None
        self.got: list[int] = []
        self.expected_from = 0
        self.transport: FakeTransport | None = None
        self.seen = 0

    async def connect(self, capacity: int | None) -> None:
        one = connection(self.user, self.device, echo=self.echo, buffer_limit=70_000)
        resumer = self.world.resumer
        plan = await resumer.plan(self.user, self.cursor) if self.cursor is not None else None
        self.transport = attach(one, capacity)
        self.seen = 0
        if plan is None:
            self.expected_from = self.world.tail.head
            self.cursor = resumer.cursor(self.world.tail.head)
            self.world.hub.add(one)
            return
        task = asyncio.create_task(resumer.run(one, plan))
        self.world.tasks.add(task)
        task.add_done_callback(self.world.tasks.discard)

    def read(self, size: int | None) -> None:
        """Take what the socket has, and handle the frames that are whole."""
        transport = self.transport
        if transport is None:
            return
        transport.drain(size)
        frames = texts(transport.wire)
        for frame in frames[self.seen :]:
            self.handle(frame)
        self.seen = len(frames)
        if transport.is_closing():
            self.drop()

    def handle(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "message":
            self.take(int(frame["id"], 16))
            self.cursor = f"e.{frame['id']}"
        elif frame["type"] == "gap":
            after, up_to = int(frame["from"], 16), int(frame["to"], 16)
            for one in self.world.fetch(self.user, after, up_to):
                if self.wants(one):
                    self.take(one.id)
            self.cursor = f"e.{format_id(up_to)}"
        else:
            self.cursor = frame["cursor"]

    def take(self, message: int) -> None:
        assert not self.got or message > self.got[-1], "in order, and once"
        self.got.append(message)

    def wants(self, one: Record) -> bool:
        return one.sender != self.user or (self.echo and one.origin != self.device)

    def drop(self) -> None:
        if self.transport is not None:
            self.world.hub.discard(self.transport.connection)
            self.transport.lose()
            self.transport = None

    def should_have(self) -> list[int]:
        return [
            one.id
            for one in self.world.truth
            if self.user in one.audience and self.wants(one) and one.id > self.expected_from
        ]


NUMBER = st.integers(0, len(CLIENTS) - 1)
SENDS = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sets(st.sampled_from(USERS), min_size=1),
        NUMBER,
        st.sampled_from([1, 300, 30_000]),
    ),
    min_size=1,
    max_size=6,
)
EVENTS = st.one_of(
    st.tuples(st.just("send"), SENDS),
    st.tuples(st.just("connect"), NUMBER, st.sampled_from([None, 0, 500, 50_000])),
    st.tuples(st.just("drop"), NUMBER),
    st.tuples(st.just("read"), NUMBER, st.sampled_from([None, 100, 40_000])),
    st.tuples(st.just("store"), st.integers(0, 3)),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("turn"), st.integers(1, 6)),
)
# What happens while a resume is under way, turn by turn: the races that matter.
RACES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(
            st.tuples(st.just("send"), SENDS),
            st.tuples(st.just("store"), st.just(0)),
            st.tuples(st.just("away"), st.booleans()),
        ),
    ),
    min_size=1,
    max_size=4,
).map(lambda race: [step for turns, event in race for step in (("turn", turns), event)])
RESUMES = st.tuples(NUMBER, SENDS, st.integers(0, 2), RACES).map(
    lambda parts: [
        ("connect", parts[0], None),
        ("read", parts[0], None),
        ("drop", parts[0]),
        ("send", parts[1]),
        ("store", parts[2]),
        ("connect", parts[0], None),
        *parts[3],
    ]
)
STEPS = st.lists(st.one_of(EVENTS.map(lambda event: [event]), RESUMES), max_size=20).map(
    lambda groups: [step for group in groups for step in group]
)


async def play(steps: list[tuple[Any, ...]]) -> None:
    world = World()
    clients = [Client(world, *values) for values in CLIENTS]
    for step, *rest in steps:
        if step == "send":
            batch = []
            for sender, to, device, size in rest[0]:
                at = len(world.truth) + 1
                made = record(at, "x" * size, sender=sender, to=tuple(to), origin=f"device{device}")
                world.truth.append(made)
                batch.append(made)
            world.tail.extend(batch)
        elif step == "connect" and clients[rest[0]].transport is None:
            await clients[rest[0]].connect(rest[1])
        elif step == "drop":
            # Sent and not read is lost on the way; what was read counts.
            clients[rest[0]].drop()
        elif step == "read":
            clients[rest[0]].read(rest[1])
        elif step == "store":
            world.tail.advance(world.tail.head - rest[0])
        elif step == "away":
            world.away = rest[0]
        elif step == "turn":
            for _ in range(rest[0]):
                await asyncio.sleep(0)
    await settle(world, clients)
    for client in clients:
        assert client.got == (client.should_have() if client.cursor is not None else [])


async def settle(world: World, clients: list[Client]) -> None:
    """Everybody that was ever there comes back and reads until there is nothing more."""
    world.away = False
    for _ in range(30):
        for client in clients:
            if client.cursor is not None and client.transport is None:
                await client.connect(None)
        for _ in range(60):
            for client in clients:
                if client.transport is not None:
                    client.transport.capacity = None
                client.read(None)
            await asyncio.sleep(0)
        if not world.tasks and all(
            client.cursor is None or client.transport is not None for client in clients
        ):
            return
    raise AssertionError("somebody never catches up")


@settings(max_examples=300)
@given(STEPS)
def test_each_has_exactly_what_it_should_have(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(play(steps))
