"""The tail's conversations of a user, without going through the tail for each listing."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import Interval
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history import tail_conversations
from chatsvc.storage.history.tail_conversations import TailConversations
from testkit.records import START, other_kind, record
from tests.unit.support.virtual_time import in_virtual_time, passed


class CountingTail(Tail):
    """``looked_at``: how many records of a user's list were handed out."""

    looked_at = 0

    def user_page(
        self, user: str, bounds: Bounds, intervals: Sequence[Interval] = ()
    ) -> list[Record]:
        found = super().user_page(user, bounds, intervals)
        self.looked_at += len(found)
        return found


def filled(count: int, channels: int) -> CountingTail:
    tail = CountingTail(recent_bytes=1 << 30)
    tail.extend([record(n, to=("alice", f"u{n % channels}")) for n in range(1, count + 1)])
    return tail


async def listing(
    conversations: TailConversations, tail: Tail, *, above: int = 0, before: int = MAX_ID
) -> list[int]:
    with conversations.of("alice") as own:
        await conversations.refresh("alice", own)
        return [one.id - START >> 6 for one in own.page(tail, above=above, before=before, limit=5)]


async def test_the_newest_of_each_channel_newest_first() -> None:
    tail = filled(20, 4)
    conversations = TailConversations(tail)
    assert await listing(conversations, tail) == [20, 19, 18, 17]
    assert await listing(conversations, tail, before=START + (19 << 6)) == [18, 17]
    assert await listing(conversations, tail, above=START + (18 << 6)) == [20, 19]
    tail.extend([record(21, to=("alice", "u2")), other_kind(22, to=("alice", "u3"))])
    assert await listing(conversations, tail) == [21, 20, 19, 17]


async def test_what_was_gone_through_is_not_gone_through_again() -> None:
    tail = filled(5000, 50)
    conversations = TailConversations(tail)
    await listing(conversations, tail)
    assert tail.looked_at == 5000
    for _ in range(100):
        await listing(conversations, tail)
    assert tail.looked_at == 5000
    tail.extend([record(5001, to=("alice", "u1"))])
    await listing(conversations, tail)
    assert tail.looked_at == 5001


async def test_a_page_looks_at_no_more_than_it_holds() -> None:
    tail = filled(2000, 2000)
    conversations = TailConversations(tail)
    gets: list[int] = []
    get = tail.get
    tail.get = lambda wanted: (gets.append(wanted), get(wanted))[1]  # type: ignore[method-assign]
    assert await listing(conversations, tail) == [2000, 1999, 1998, 1997, 1996]
    assert len(gets) == 5


async def test_what_the_tail_lets_go_of_goes() -> None:
    tail = Tail(recent_bytes=0)
    tail.extend([record(n, to=("alice", f"u{n}")) for n in range(1, 101)])
    conversations = TailConversations(tail)
    await listing(conversations, tail)
    tail.advance(START + (98 << 6))
    assert await listing(conversations, tail) == [100, 99]
    with conversations.of("alice") as own:
        assert len(own.newest) == 2


async def test_while_one_reads_nothing_of_theirs_goes() -> None:
    tail = Tail(recent_bytes=0)
    tail.extend([record(n, to=("alice", f"u{n}")) for n in range(1, 11)])
    conversations = TailConversations(tail)
    with conversations.of("alice") as own:
        await conversations.refresh("alice", own)
        tail.advance(tail.head)
        assert await listing(conversations, tail) == []
        assert own.newest_in("alice,u10") == START + (10 << 6)


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = Tail(recent_bytes=1 << 30)
    for n in range(1, 31):
        tail.extend([record(n, to=(f"user{n}", "bob"))])
    few = TailConversations(tail, users=5)
    for n in range(1, 31):
        with few.of(f"user{n}") as own:
            await few.refresh(f"user{n}", own)
    assert len(few) == 5
    small = TailConversations(tail, entries=10)
    for user in ("user1", "bob", "user2"):
        with small.of(user) as own:
            await small.refresh(user, own)
    assert len(small) == 1, "30 conversations of bob's are too many"


async def test_only_as_much_goes_as_is_too_much() -> None:
    tail = Tail(recent_bytes=1 << 30)
    tail.extend([record(n, to=(f"user{n % 3}", f"peer{n}")) for n in range(1, 7)])
    for entries, kept in ((6, 3), (5, 2), (4, 2), (3, 1)):
        conversations = TailConversations(tail, entries=entries)
        for user in ("user0", "user1", "user2"):
            with conversations.of(user) as own:
                await conversations.refresh(user, own)
                assert len(own.newest) == 2
        assert len(conversations) == kept, entries


@in_virtual_time
async def test_it_goes_on_at_its_next_turn() -> None:
    tail = filled(5500, 3)
    assert await listing(TailConversations(tail), tail) == [5500, 5499, 5498]
    assert passed() == 0


async def test_it_yields_while_it_goes_through_much(monkeypatch: pytest.MonkeyPatch) -> None:
    yields = 0

    async def sleep(seconds: float) -> None:
        nonlocal yields
        yields += 1

    monkeypatch.setattr(tail_conversations.asyncio, "sleep", sleep)
    tail = filled(5500, 3)
    await listing(TailConversations(tail), tail)
    assert yields == 5


async def test_records_that_come_while_it_yields_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = filled(1000, 3)

    async def sleep(seconds: float) -> None:
        if tail.head < START + (1001 << 6):
            tail.extend([record(1001, to=("alice", "late"))])

    monkeypatch.setattr(tail_conversations.asyncio, "sleep", sleep)
    assert (await listing(TailConversations(tail), tail))[0] == 1001


async def test_any_course_of_events_gives_what_the_tail_holds() -> None:
    for seed in range(30):
        chance = random.Random(seed)
        tail = Tail(recent_bytes=chance.choice([0, 3000, 1 << 20]))
        conversations = TailConversations(tail, users=chance.choice([1, 2, 10]))
        for number in range(1, 61):
            tail.extend([record(number, to=("alice", f"u{chance.randrange(8)}"))])
            if chance.random() < 0.3:
                tail.advance(START + (chance.randrange(number + 1) << 6))
            user = chance.choice(["alice", "u1", "u2"])
            with conversations.of(user) as own:
                await conversations.refresh(user, own)
                held = {r.channel: r for r in tail.user_page(user, Bounds(1000, newest=False))}
                expected = sorted(held.values(), key=lambda r: -r.id)
                assert own.page(tail, above=0, before=MAX_ID, limit=100) == expected
