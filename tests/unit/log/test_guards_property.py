"""Guarded appends in any interleaving are a serial order of decisions on what was so.

The model: each key is a counter. A decision reads some counters as of a position, and appends a
record that says what it read and raises some of them. Whatever came between, and whichever
commits failed, in the order of the records each must have read what is so there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.core.errors import ChatError, LogUnavailable, Stale, TooManyRequests
from chatsvc.core.record import Draft, Record
from chatsvc.log.base import Appended
from chatsvc.log.guards import Guard
from testkit.drafts import draft
from tests.unit.support.commit_disk import Disk, turn

KEYS = "abc"
Step = tuple[str, Sequence[int]]
NUMBERS = st.lists(st.integers(0, 7), min_size=4, max_size=4)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["decide", "decide", "decide", "plain", "turn", "finish", "refuse", "fail"]
        ),
        NUMBERS,
    ),
    max_size=40,
)


def counters(records: Sequence[Record], as_of: int) -> Counter[str]:
    """The state as of a position, folded from the records."""
    state: Counter[str] = Counter()
    for record in records:
        if record.id <= as_of:
            state.update(record.touches)
    return state


def some(number: int) -> str:
    """Some of the keys."""
    return "".join(key for bit, key in enumerate(KEYS) if number >> bit & 1)


class World:
    """A disk, and who decides."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.disk.touches._max_keys = 1
        self.futures: list[asyncio.Future[list[Appended]]] = []

    @property
    def head(self) -> int:
        return self.disk.records[-1].id if self.disk.records else 0

    def decide(self, numbers: Sequence[int]) -> asyncio.Future[list[Appended]]:
        """Read some keys as of the head or a few records before it, and raise some."""
        reads, raises, back, count = some(numbers[0]), some(numbers[1]), numbers[2], numbers[3]
        known = [0, *(record.id for record in self.disk.records)]
        as_of = known[max(0, len(known) - 1 - back)]
        state = counters(self.disk.records, as_of)
        text = msgspec.json.encode({key: state[key] for key in reads}).decode()
        first = msgspec.structs.replace(draft(text), touches=tuple(raises))
        others: list[Draft] = [draft("{}")] * (count % 3)
        future = self.disk.commit.append_all([first, *others], Guard(as_of, tuple(reads)))
        self.futures.append(future)
        return future

    def finish(self, refused: dict[int, ChatError]) -> None:
        if self.disk.is_writing:
            self.disk.finish(refused)
            self.disk.touches.forget(self.head)

    def refuse(self, number: int) -> None:
        """End the write, of which one append alone is refused."""
        if not self.disk.is_writing:
            return
        appends = self.disk.commit._batch
        chosen, at = number % len(appends), 0
        refused: dict[int, ChatError] = {}
        for place, waiting in enumerate(appends):
            if place == chosen:
                error = TooManyRequests("no")
                refused = dict.fromkeys(range(at, at + len(waiting.drafts)), error)
            at += len(waiting.drafts)
        self.finish(refused)

    async def step(self, step: Step) -> None:
        name, numbers = step
        if name == "decide":
            self.decide(numbers)
        elif name == "plain":
            self.disk.commit.append(
                msgspec.structs.replace(draft("{}"), touches=tuple(some(numbers[0])))
            ).add_done_callback(lambda done: done.exception())
        elif name == "turn":
            await turn()
        elif name == "refuse":
            self.refuse(numbers[0])
        elif name == "finish":
            self.finish({})
        elif self.disk.is_writing:
            self.disk.fail()

    async def end(self) -> None:
        """Until nothing is queued or written."""
        await turn()
        while self.disk.is_writing:
            self.finish({})
            await turn()


def check_serial(records: Sequence[Record]) -> None:
    """Each record read what is so where it is."""
    state: Counter[str] = Counter()
    for record in records:
        read = msgspec.json.decode(msgspec.json.decode(record.body)["content"])
        assert read == {key: state[key] for key in read}
        state.update(record.touches)


async def play(steps: Sequence[Step]) -> None:
    world = World()
    for step in steps:
        await world.step(step)
    await world.end()
    check_serial(world.disk.records)
    for future in world.futures:
        error = future.exception()
        assert error is None or isinstance(error, Stale | LogUnavailable | TooManyRequests)
        if isinstance(error, Stale):
            assert 0 < error.by <= world.head
    placed = {one.id for one in world.disk.records}
    kept = [future.result() for future in world.futures if future.exception() is None]
    assert all(one.id in placed for result in kept for one in result)
    last = world.decide([7, 7, 0, 0])
    await world.end()
    assert last.exception() is None, "as of the head, with nothing in flight, none is stale"
    check_serial(world.disk.records)


@settings(deadline=None, max_examples=300)
@given(STEPS)
def test_any_interleaving_is_a_serial_order(steps: list[Step]) -> None:
    asyncio.run(play(steps))
