"""Fair shares of the backlog, and whether its costs are those of memory."""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.errors import LogUnavailable, TooManyRequests
from chatsvc.core.record import Draft, Record, accept, pack, unpack
from chatsvc.core.record_size import PLACE_BYTES, RECORD_BYTES
from chatsvc.log.backlog import (
    LIST_BYTES,
    Backlog,
    FairShare,
    audience_bytes,
    lists_bytes,
    share_of,
)
from chatsvc.log.tail import Tail
from testkit.groups import group_draft
from testkit.records import START, draft

MIB = 1024 * 1024


def people(group: object, count: int) -> tuple[str, ...]:
    """Strings of their own each time, as a request brings them."""
    return tuple(f"user-{group}-{number:05d}" for number in range(count))


def made(number: int, to: tuple[str, ...]) -> Record:
    text = "x" * 100
    one = draft(text, to=to, origin=f"device-{number % 7}", client_id=f"{number:036d}")
    return accept(one, START + number * 64)


def from_disk(number: int, to: tuple[str, ...]) -> Record:
    record = made(number, to)
    return unpack(record.id, pack(record))


def of_group(number: int, group: int, to: tuple[str, ...] = ()) -> Record:
    """Its channel is a string of its own each time, too."""
    text, key = "x" * 100, f"{number:036d}"
    one = group_draft(text, channel=f",g:a-group-{group:010d}", to=to, client_id=key)
    return accept(one, START + number * 64)


def packed(record: Record) -> Record:
    return unpack(record.id, pack(record))


FORMS: dict[str, tuple[int, Callable[[int], Record]]] = {
    "two people, a thousand conversations": (3000, lambda n: made(n, people(n % 1000, 2))),
    "two people, always new": (3000, lambda n: made(n, people(n, 2))),
    "255 people, twenty conversations": (200, lambda n: made(n, people(n % 20, 255))),
    "255 people, always new": (150, lambda n: made(n, people(n, 255))),
    "255 of many, never the same": (
        200,
        lambda n: made(n, tuple(f"user-{k}" for k in random.Random(n).sample(range(20_000), 255))),
    ),
    "two people, read from the file": (3000, lambda n: from_disk(n, people(n % 1000, 2))),
    "255 people, read from the file": (200, lambda n: from_disk(n, people(n % 20, 255))),
    "a hundred groups": (3000, lambda n: of_group(n, n % 100)),
    "always a new group": (3000, lambda n: of_group(n, n)),
    "a hundred groups, read from the file": (3000, lambda n: packed(of_group(n, n % 100))),
    "200 named in one group": (200, lambda n: of_group(n, 1, people(1, 200))),
    "200 named, never the same": (150, lambda n: of_group(n, n % 7, people(n, 200))),
    "three named, read from the file": (3000, lambda n: packed(of_group(n, 1, people(n % 50, 3)))),
}


@pytest.mark.parametrize("kept", [1.0, 0.5])
@pytest.mark.parametrize("form", FORMS)
def test_costs_are_the_memory_that_is_taken(form: str, kept: float) -> None:
    """Also when a part was stored and let go of, and some were taken out."""
    count, make = FORMS[form]
    tail = Tail(recent_bytes=0)
    make(count)  # what is made once for all
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, count, 50):
            tail.extend([make(number) for number in range(start, start + 50)])
        if kept < 1:
            tail.advance(START + int(count * (1 - kept)) * 64)
            for number in range(count - 20, count):
                tail.drop(START + number * 64)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # What a stored record began and others are still in counts as recent.
    ratio = taken / (tail.unsaved_bytes + tail.recent_bytes)
    assert 0.7 < ratio < (1.25 if kept == 1 else 1.4)  # a table of users who left does not shrink


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(0, 3000)), max_size=40)
)
def test_a_draft_counts_for_at_least_what_its_record_takes(
    sends: list[tuple[int, int, int]],
) -> None:
    tail = Tail(recent_bytes=0)
    for number, (group, width, size) in enumerate(sends, 1):
        one = draft("x" * (size + 1), to=people(group, width), client_id=f"{number:036d}")
        listed = tail.lists_channel(one.channel)
        before = tail.unsaved_bytes
        tail.extend([accept(one, START + number * 64)])
        cost = tail.unsaved_bytes - before
        assert cost == one.cost if listed else cost <= one.cost + lists_bytes(one)


def test_a_lone_sender_may_use_half() -> None:
    backlog = Backlog()
    shares = FairShare(backlog, 64 * MIB)
    taken = fill(backlog, shares, "bulk", 10_000)
    assert 32 * MIB - 10_000 < taken <= 32 * MIB
    shares.check("alice", 10_000)


def test_over_a_share_is_the_senders_own_fault_and_says_when_to_come_back() -> None:
    backlog = Backlog()
    shares = FairShare(backlog, 64 * MIB)
    fill(backlog, shares, "bulk", 10_000)
    with pytest.raises(TooManyRequests) as raised:
        shares.check("bulk", 10_000)
    assert raised.value.code == "sender_backlog_full"
    assert raised.value.retry_after == 2.0
    assert str(MIB) in raised.value.detail
    assert shares.refused == 2
    backlog.release("bulk", 10_000)
    shares.check("bulk", 10_000)


def test_nobody_is_over_a_share_who_holds_nothing() -> None:
    backlog = Backlog()
    shares = FairShare(backlog, MIB)
    backlog.add("bulk", MIB // 2)
    shares.check("alice", 200_000)


def test_a_full_backlog_is_nobodys_fault() -> None:
    backlog = Backlog()
    shares = FairShare(backlog, MIB)
    for number in range(100):
        backlog.add(f"user {number}", MIB // 100)
    with pytest.raises(LogUnavailable) as raised:
        shares.check("alice", 10_000)
    assert raised.value.code == "backlog_full"
    assert raised.value.retry_after == 2.0
    with pytest.raises(LogUnavailable):
        shares.check_capacity()
    backlog.release("user 0", MIB // 100)
    with pytest.raises(LogUnavailable):
        shares.check_capacity()  # less than a share is free
    for number in range(1, 10):
        backlog.release(f"user {number}", MIB // 100)
    shares.check_capacity()


def test_what_is_released_is_forgotten() -> None:
    backlog = Backlog()
    backlog.add("alice", 5)
    backlog.add("alice", 7)
    backlog.add("bob", 1)
    assert (backlog.total, backlog.held_by("alice"), len(backlog)) == (13, 12, 2)
    backlog.release("alice", 5)
    backlog.release("alice", 7)
    assert (backlog.total, backlog.held_by("alice"), len(backlog)) == (1, 0, 1)


@pytest.mark.parametrize(
    ("limit", "share", "senders"),
    [(512 * MIB, MIB, 256), (4096 * MIB, 8 * MIB, 256), (64 * MIB, MIB, 32), (MIB, MIB // 16, 8)],
)
def test_the_documented_numbers(limit: int, share: int, senders: int) -> None:
    assert share_of(limit) == share
    assert limit // 2 // share == senders


@given(
    limit=st.sampled_from([MIB, 8 * MIB, 64 * MIB, 512 * MIB]),
    count=st.integers(1, 300),
    size=st.integers(20_000, 60_000),
    order=st.randoms(use_true_random=False),
)
def test_fewer_than_the_documented_number_cannot_make_anothers_send_fail(
    limit: int, count: int, size: int, order: random.Random
) -> None:
    share = share_of(limit)
    hostile = min(count, limit // 2 // share - 1)
    backlog = Backlog()
    shares = FairShare(backlog, limit)
    names = [f"hostile {number}" for number in range(hostile)]
    order.shuffle(names)
    for name in names:  # one after another until each is refused, in the worst order there is
        fill(backlog, shares, name, size)
    for name in names:
        fill(backlog, shares, name, size)
    held = 0
    while held + size <= share:  # all of an honest sender's share is there
        shares.check("honest", size)
        backlog.add("honest", size)
        held += size


def fill(backlog: Backlog, shares: FairShare, sender: str, size: int) -> int:
    """Send until refused; what this took."""
    taken = 0
    while True:
        try:
            shares.check(sender, size)
        except (TooManyRequests, LogUnavailable):
            return taken
        backlog.add(sender, size)
        taken += size


def test_a_draft_whose_lists_are_there_counts_for_less() -> None:
    one: Draft = draft(to=people("x", 200))
    assert lists_bytes(one) + one.cost > 200 * 200 > one.cost


def test_names_take_what_each_string_and_their_tuple_take() -> None:
    names = ("anna", "a name of thirty-two characters!")
    taken = [sys.getsizeof(one) for one in ("a channel", names, *names)]
    assert audience_bytes("a channel", names) == sum(taken)


def test_a_draft_counts_for_its_record_its_text_and_its_places() -> None:
    one = draft(to=("anna", "bert", "cleo"))
    places = len(one.audience) + 1
    body = len(accept(one, START).body)
    assert one.cost == RECORD_BYTES + body + places * PLACE_BYTES
    names = audience_bytes(one.channel, one.audience)
    assert lists_bytes(one) == places * LIST_BYTES + names


def of_1600(**held: int) -> FairShare:
    """Shares of a bound of 1600 bytes, of which so much is held: half is 800, a share 100."""
    backlog = Backlog()
    for sender, size in held.items():
        backlog.add(sender, size)
    return FairShare(backlog, 1600)


def test_a_share_is_whole_bytes() -> None:
    assert (share_of(1600), share_of(1601), share_of(512 * MIB + 1)) == (100, 100, MIB)


def test_the_first_half_is_anybodys_to_the_last_byte() -> None:
    of_1600(bulk=700).check("bulk", 100)
    with pytest.raises(TooManyRequests):
        of_1600(bulk=700).check("bulk", 101)


def test_a_share_can_be_used_to_the_last_byte() -> None:
    of_1600(bulk=800, alice=60).check("alice", 40)
    with pytest.raises(TooManyRequests):
        of_1600(bulk=800, alice=60).check("alice", 41)


def test_the_bound_can_be_used_to_the_last_byte() -> None:
    of_1600(bulk=1500).check("alice", 100)
    of_1600(bulk=1500).check_capacity()
    with pytest.raises(LogUnavailable, match="too much is waiting to be stored"):
        of_1600(bulk=1500).check("alice", 101)
    with pytest.raises(LogUnavailable):
        of_1600(bulk=1501).check_capacity()
