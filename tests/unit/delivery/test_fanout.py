"""The fan-out: everybody but the sender, in the order of ids, in few writes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.core.record import Record
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.fanout import SLICE, Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.spans import BEHIND, Span
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.wire.frames import encode_text
from testkit.drafts import record
from tests.unit.support.sockets import FakeTransport, attach, connection, texts


class Harness:
    """A hub with a fan-out, and what each connection got."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.delivered = 0
        self.behind: list[tuple[Connection, int]] = []
        self.steps = Acknowledgements()
        self.fanout = Fanout(self.hub, self.steps, self._fell_behind, self._count)

    def _fell_behind(self, connection: Connection, position: int) -> None:
        connection.waiting = BEHIND
        self.behind.append((connection, position))

    def _count(self, frames: int) -> None:
        self.delivered += frames

    def join(self, user: str, device: str = "", **options: Any) -> FakeTransport:
        one = connection(user, device, **options)
        transport = attach(one)
        self.hub.add(one)
        return transport

    async def settle(self) -> None:
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
            while self.fanout._sweeping:  # noqa: ASYNC110 - it goes by turns of the loop
                await asyncio.sleep(0)
        assert self.fanout._runs == {}, "nothing is kept that nobody waits for"

    async def send(self, *records: Record) -> None:
        self.fanout.accept(records)
        await self.settle()


@pytest.fixture
async def harness() -> Harness:
    return Harness()


def got(transport: FakeTransport) -> list[int]:
    return [int(frame["id"], 16) for frame in texts(transport.wire)]


async def test_everybody_but_the_sender_on_all_their_sockets(harness: Harness) -> None:
    alice = [harness.join("alice"), harness.join("alice")]
    bob = [harness.join("bob"), harness.join("bob")]
    carol = harness.join("carol")
    await harness.send(record(1, sender="alice", to=("bob",)))
    assert [got(one) for one in (*alice, *bob, carol)] == [[], [], [1], [1], []]
    assert harness.delivered == 2


async def test_the_frame_is_the_message(harness: Harness) -> None:
    bob = harness.join("bob")
    made = record(1, "hello")
    await harness.send(made)
    (frame,) = texts(bob.wire)
    assert frame["type"] == "message"
    assert bob.wire.endswith(made.body)


async def test_echo_brings_what_other_devices_sent(harness: Harness) -> None:
    phone = harness.join("alice", "phone", echo=True)
    laptop = harness.join("alice", "laptop", echo=True)
    plain = harness.join("alice", "tablet")
    await harness.send(
        record(1, origin="phone"), record(2, origin="laptop"), record(3, origin="tv")
    )
    assert (got(phone), got(laptop), got(plain)) == ([2, 3], [1, 3], [])


async def test_a_message_to_oneself_goes_to_echo_alone(harness: Harness) -> None:
    plain, echo = harness.join("alice"), harness.join("alice", "laptop", echo=True)
    await harness.send(record(1, to=(), origin="phone"))
    assert (got(plain), got(echo)) == ([], [1])


async def test_across_conversations_the_order_is_by_id(harness: Harness) -> None:
    bob = harness.join("bob")
    await harness.send(
        record(1, sender="zoe"),
        record(2, sender="alice"),
        record(3, sender="zoe"),
        record(4, sender="carol"),
        record(5, sender="alice"),
    )
    assert got(bob) == [1, 2, 3, 4, 5]
    assert len(bob.writes) == 1, "all of it in one write"


async def test_a_batch_in_which_one_speaks_and_listens(harness: Harness) -> None:
    alice, bob, carol = harness.join("alice"), harness.join("bob"), harness.join("carol")
    both = ("alice", "bob", "carol")
    await harness.send(
        record(1, sender="alice", to=both),
        record(2, sender="bob", to=both),
        record(3, sender="alice", to=both),
    )
    assert (got(alice), got(bob), got(carol)) == ([2], [1, 3], [1, 2, 3])


async def test_what_comes_while_one_waits_is_in_the_same_write(harness: Harness) -> None:
    bob = harness.join("bob")
    for at in range(1, 6):
        harness.fanout.accept([record(at)])
    harness.fanout.accept([record(6, sender="zoe")])
    harness.fanout.accept([record(7)])
    await harness.settle()
    assert got(bob) == [1, 2, 3, 4, 5, 6, 7]
    assert len(bob.writes) == 1


async def test_one_that_waits_and_then_speaks_does_not_hear_itself(harness: Harness) -> None:
    bob, carol = harness.join("bob"), harness.join("carol")
    both = ("alice", "bob", "carol")
    harness.fanout.accept([record(1, sender="alice", to=both)])
    harness.fanout.accept([record(2, sender="bob", to=both)])
    await harness.settle()
    assert (got(bob), got(carol)) == ([1], [1, 2])


async def test_what_waits_of_a_conversation_is_one_run_shared_by_all(harness: Harness) -> None:
    readers = [harness.join("bob").connection for _ in range(3)]
    for at in (1, 2):
        harness.fanout.accept([record(at)])
    spans = [one.waiting for one in readers]
    assert all(isinstance(span, Span) for span in spans), "one span each, for both messages"
    [run] = {id(span.run): span.run for span in spans if isinstance(span, Span)}.values()
    assert (len(run.frames), run.waiting) == (2, 3)
    await harness.settle()
    assert run.waiting == 0


async def test_a_run_is_closed_at_1024_frames(harness: Harness) -> None:
    bob = harness.join("bob")
    harness.fanout.accept([record(at) for at in range(1, 1025)])
    harness.fanout.accept([record(1025)])
    waiting = bob.connection.waiting
    assert isinstance(waiting, list)
    assert [len(span.run.frames) for span in waiting] == [1024, 1]
    await harness.settle()
    assert got(bob) == list(range(1, 1026))


async def test_who_joins_late_gets_what_others_wait_for_already(harness: Harness) -> None:
    early = harness.join("bob")
    harness.fanout.accept([record(1)])
    harness.fanout.accept([record(2, sender="zoe")])
    late = harness.join("bob", "late")
    harness.fanout.accept([record(3)])
    await harness.settle()
    assert (got(early), got(late)) == ([1, 2, 3], [3])


async def test_who_joins_while_others_wait_gets_what_came_since(harness: Harness) -> None:
    bob = harness.join("bob")
    harness.fanout.accept([record(1)])
    late = harness.join("bob", "late")
    harness.fanout.accept([record(2)])
    await harness.settle()
    assert (got(bob), got(late)) == ([1, 2], [2])


async def test_who_leaves_while_it_waits_is_passed_over(harness: Harness) -> None:
    gone, bob = harness.join("bob"), harness.join("bob")
    harness.fanout.accept([record(1)])
    harness.hub.discard(gone.connection)
    gone.lose()
    harness.fanout.accept([record(2)])
    await harness.settle()
    assert (got(gone), got(bob)) == ([], [1, 2])


async def test_another_audience_in_the_same_conversation(harness: Harness) -> None:
    bob, carol = harness.join("bob"), harness.join("carol")
    channel = "alice,bob,carol"

    def to(at: int, *audience: str) -> Record:
        made = record(at, to=("bob", "carol"))
        assert made.channel == channel
        return Record(
            id=made.id,
            kind=made.kind,
            channel=channel,
            audience=audience,
            sender=made.sender,
            origin=made.origin,
            client_id=None,
            digest=made.digest,
            body=made.body,
        )

    await harness.send(
        to(1, "alice", "bob"), to(2, "alice", "bob", "carol"), to(3, "alice", "carol"),
        to(4, "alice", "bob"),
    )  # fmt: skip
    assert (got(bob), got(carol)) == ([1, 2, 4], [2, 3])


async def test_a_socket_that_raises_stops_nobody(harness: Harness) -> None:
    transports = [harness.join(f"user{at:03}") for at in range(3 * SLICE)]
    for at in (0, 5, SLICE, 2 * SLICE + 1):
        transports[at].broken = True
    everybody = tuple(one.connection.user for one in transports)
    await harness.send(record(1, to=everybody))
    await harness.send(record(2, to=everybody))
    for one in transports:
        assert got(one) == ([] if one.broken else [1, 2])
        assert one.aborted == one.broken


async def test_one_that_raises_is_cut_for_an_error(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(Connection, "cut", lambda self, reason: reasons.append(reason))
    harness.join("bob").broken = True
    await harness.send(record(1))
    assert reasons == ["error"]


async def test_one_that_raises_even_when_it_is_cut_stops_nobody(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = harness.join("bob"), harness.join("bob")

    def fails(self: Connection, reason: str) -> None:
        raise RuntimeError("no")

    bad.broken = True
    monkeypatch.setattr(Connection, "cut", fails)
    await harness.send(record(1))
    await harness.send(record(2))
    assert got(good) == [1, 2]
    assert list(harness.hub.of("bob")) == [good.connection]


async def test_large_audiences_are_served_in_slices_with_turns_between(harness: Harness) -> None:
    count = 3 * SLICE + 1
    transports = [harness.join(f"user{at:03}") for at in range(count)]
    harness.fanout.accept([record(1, to=tuple(one.connection.user for one in transports))])
    served: list[int] = []
    async with asyncio.timeout(10):
        while not served or served[-1] < count:
            served.append(sum(bool(one.wire) for one in transports))
            await asyncio.sleep(0)
    steps = [b - a for a, b in itertools.pairwise(served) if b > a]
    assert max(steps) <= SLICE
    assert len(steps) == 4


async def test_senders_are_answered_before_anybody_is_served(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = harness.join("bob")
    order: list[str] = []
    write = Connection.write

    def noting(self: Connection, data: bytes) -> None:
        order.append("served")
        write(self, data)

    monkeypatch.setattr(Connection, "write", noting)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    # As a socket does: the future's callback queues the answer.
    steps = harness.steps
    future.add_done_callback(lambda _: steps.write_soon(lambda: order.append("ack")))
    with steps:
        harness.fanout.accept([record(1)])
        future.set_result(None)
    async with asyncio.timeout(10):
        while not bob.wire:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert order == ["ack", "served"]


async def test_who_alone_speaks_in_a_batch_is_not_served_for_it(harness: Harness) -> None:
    plain, echo = harness.join("alice"), harness.join("alice", "laptop", echo=True)
    bob = harness.join("bob")
    harness.fanout.accept([record(1), record(2)])
    waits = [one.connection.waiting is not None for one in (plain, echo, bob)]
    assert waits == [False, True, True]
    harness.fanout.accept([record(3), record(4, sender="bob", to=("alice",)), record(5)])
    assert plain.connection.waiting is not None, "there is something of another's in it"
    await harness.settle()
    assert got(plain) == [4]


async def test_a_slow_reader_is_handed_over_at_its_bound_and_nobody_else(harness: Harness) -> None:
    slow = connection("bob", buffer_limit=200_000)
    stuck = attach(slow, capacity=0)
    harness.hub.add(slow)
    quick = harness.join("bob")
    for at in range(1, 40):
        await harness.send(record(at, "x" * 10_000))
    assert not stuck.aborted
    assert stuck.max_buffered <= 200_000
    assert len(got(quick)) == 39
    stuck.drain()
    served = got(stuck)
    assert served == list(range(1, len(served) + 1))
    assert harness.behind == [(slow, served[-1])], "once, with what it was served to"


@pytest.mark.parametrize("count", [1, 20])
async def test_a_batch_beyond_the_bound_is_not_written_at_all(harness: Harness, count: int) -> None:
    """Nor joined: it may be many times what a connection may hold."""
    bob = harness.join("bob", buffer_limit=70_000)
    size = 80_000 // count
    await harness.send(record(1, "small"))
    await harness.send(*(record(at, "x" * size) for at in range(2, 2 + count)))
    assert got(bob) == [1]
    assert harness.behind == [(bob.connection, 1)]


@pytest.mark.parametrize("senders", [("alice", "alice"), ("alice", "zoe")])
async def test_a_batch_of_just_the_bound_is_written(
    harness: Harness, senders: tuple[str, str]
) -> None:
    batch = [record(at, sender=sender) for at, sender in enumerate(senders, 1)]
    size = sum(len(encode_text(one.body)) for one in batch)
    fits, too_small = (
        harness.join("bob", buffer_limit=size),
        connection("bob", buffer_limit=size - 1),
    )
    attach(too_small)
    harness.hub.add(too_small)
    await harness.send(*batch)
    assert got(fits) == [1, 2]
    assert harness.behind == [(too_small, 0)]
    assert harness.delivered == 2, "of what is handed over nothing is counted"


async def test_over_several_conversations_too(harness: Harness) -> None:
    bob = harness.join("bob", buffer_limit=70_000)
    await harness.send(*(record(at, "x" * 30_000, sender=f"s{at}") for at in range(5, 9)))
    assert got(bob) == []
    assert harness.behind == [(bob.connection, 4)]


async def test_one_that_is_behind_is_passed_by_until_it_is_back(harness: Harness) -> None:
    bob, carol = harness.join("bob"), harness.join("carol")
    bob.connection.waiting = BEHIND
    await harness.send(record(1, to=("bob", "carol")), record(2, to=("bob",)))
    assert (got(bob), got(carol)) == ([], [1])
    bob.connection.waiting = None
    await harness.send(record(3))
    assert got(bob) == [3]


async def test_one_that_left_is_not_handed_over(harness: Harness) -> None:
    bob = harness.join("bob", buffer_limit=70_000)
    harness.fanout.accept([record(1, "x" * 80_000)])
    harness.hub.discard(bob.connection)
    await harness.settle()
    assert harness.behind == []


def breaks_for(channel: str) -> Callable[[bytes], bytes]:
    """An encoder that fails for the messages of one conversation."""

    def encode(body: bytes) -> bytes:
        if b'"channel":"%b"' % channel.encode() in body:
            raise MemoryError
        return encode_text(body)

    return encode


async def test_where_marking_fails_whom_it_concerned_is_cut_and_nobody_else(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Served on, they would move their cursors beyond what they missed."""
    alice, bob, carol = harness.join("alice"), harness.join("bob"), harness.join("carol")
    echo = harness.join("alice", "desk", echo=True)
    behind = harness.join("bob")
    behind.connection.waiting = BEHIND
    harness.fanout.accept([record(1)])
    monkeypatch.setattr("chatsvc.delivery.fanout.encode_text", breaks_for("alice,bob"))
    harness.fanout.accept([record(2), record(3, to=("carol",))])
    monkeypatch.undo()
    await harness.send(record(4), record(5, to=("carol",)))
    assert (bob.aborted, echo.aborted) == (True, True)
    assert got(bob) == [], "nothing that would hide what is missing"
    assert not alice.aborted, "which was to have none of it"
    assert not behind.aborted, "which gets it from the tail"
    assert got(carol) == [3, 5]


async def test_where_a_batch_fails_altogether_all_it_concerned_are_cut(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, carol = harness.join("bob"), harness.join("carol")

    def fails(records: Sequence[Record]) -> Iterator[list[Record]]:
        raise MemoryError

    monkeypatch.setattr("chatsvc.delivery.fanout._batches", fails)
    with pytest.raises(MemoryError):  # the tail logs it
        harness.fanout.accept([record(1)])
    assert bob.aborted
    assert not carol.aborted


async def test_what_a_slice_sent_is_counted_where_it_sent_something(harness: Harness) -> None:
    counts: list[int] = []
    steps = Acknowledgements()
    fanout = Fanout(harness.hub, steps, lambda connection, position: None, counts.append)
    uncounted = Fanout(harness.hub, steps, lambda connection, position: None)
    bob = harness.join("bob", buffer_limit=70_000)
    for one, size, sent in ((fanout, 10, [1]), (fanout, 80_000, [1]), (uncounted, 10, [1])):
        one.accept([record(len(got(bob)) + 1, "x" * size)])
        one._sweep()
        assert counts == sent
    assert got(bob) == [1, 2]


async def test_a_counter_that_raises_does_not_end_the_sweep(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = [harness.join(f"user{at:03}") for at in range(SLICE + 1)]
    failures: list[Any] = []

    def raises(frames: int) -> None:
        raise RuntimeError("no")

    asyncio.get_running_loop().set_exception_handler(lambda _, told: failures.append(told))
    monkeypatch.setattr(harness.fanout, "_delivered", raises)
    await harness.send(record(1, to=tuple(one.connection.user for one in everybody)))
    monkeypatch.undo()
    assert len(failures) == 2, "it is not swallowed"
    assert all(got(one) == [1] for one in everybody)
    await harness.send(record(2, to=("user000",)))
    assert got(everybody[0]) == [1, 2]


USERS = ("ann", "ben", "cem", "dan")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("send"),
            st.lists(
                st.tuples(
                    st.sampled_from(USERS), st.sets(st.sampled_from(USERS)), st.integers(0, 1)
                ),
                min_size=1,
                max_size=4,
            ),
        ),
        st.tuples(st.just("join"), st.sampled_from(USERS), st.booleans(), st.integers(0, 1)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("turn"), st.integers(1, 4)),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(STEPS)
def test_any_interleaving_gives_each_what_it_should_have_once_in_order(
    steps: list[tuple[Any, ...]],
) -> None:
    async def run() -> None:
        harness = Harness()
        here: list[tuple[FakeTransport, list[int]]] = []
        gone: list[tuple[FakeTransport, list[int]]] = []
        last = 0
        for step, *rest in steps:
            if step == "send":
                batch = []
                for sender, to, device in rest[0]:
                    last += 1
                    made = record(last, sender=sender, to=tuple(to), origin=f"d{device}")
                    batch.append(made)
                    for transport, expected in here:
                        one = transport.connection
                        if one.user in made.audience and one.wants(sender, made.origin):
                            expected.append(last)
                harness.fanout.accept(batch)
            elif step == "join":
                user, echo, device = rest
                here.append((harness.join(user, f"d{device}", echo=echo), []))
            elif step == "leave" and here:
                leaving = here.pop(rest[0] % len(here))
                harness.hub.discard(leaving[0].connection)
                leaving[0].lose()
                gone.append(leaving)
            else:
                for _ in range(rest[0]):
                    await asyncio.sleep(0)
        await harness.settle()
        for transport, expected in here:
            assert got(transport) == expected
        for transport, expected in gone:
            part = got(transport)
            assert part == expected[: len(part)], "a prefix: no hole for a cursor to hide"

    asyncio.run(run())


async def test_there_is_one_chain_of_sweeps_however_many_batches_come(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps = 0
    sweep = harness.fanout._sweep

    def counted() -> None:
        nonlocal sweeps
        sweeps += 1
        sweep()

    monkeypatch.setattr(harness.fanout, "_sweep", counted)
    users = [f"user {number}" for number in range(3 * SLICE)]
    for user in users:
        harness.join(user)
    for number in range(1, 21):  # while the first batch is being served
        harness.fanout.accept([record(number, to=tuple(users))])
        await asyncio.sleep(0)
        before = sweeps
        await asyncio.sleep(0)
        assert sweeps - before <= 1, "each turn of the loop serves one slice"
    await harness.settle()
    assert harness.delivered == 20 * len(users)
