"""The fan-out: everybody but the sender, in the order of ids, in few writes."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.core.record import Record
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.fanout import SLICE
from chatsvc.delivery.spans import Span
from testkit.drafts import record
from tests.unit.support.fanning_out import Harness, got
from tests.unit.support.sockets import FakeTransport, texts


@pytest.fixture
async def harness() -> Harness:
    return Harness()


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
