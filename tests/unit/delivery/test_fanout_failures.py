"""What fails in a fan-out stops nobody whom it does not concern."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from chatsvc.core.record import Record
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.fanout import SLICE, Fanout
from chatsvc.delivery.spans import BEHIND
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.wire.frames import encode_text
from testkit.drafts import record
from testkit.selecting import SELECTION
from tests.unit.support.fanning_out import Harness, got


@pytest.fixture
async def harness() -> Harness:
    return Harness()


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
    fanout = Fanout(
        harness.hub,
        SELECTION,
        steps,
        lambda connection, position: None,
        counts.append,
    )
    uncounted = Fanout(harness.hub, SELECTION, steps, lambda connection, position: None)
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
