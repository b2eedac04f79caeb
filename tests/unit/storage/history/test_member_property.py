"""History with groups and rooms against a plain model, whatever lies where and moves when."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import is_member_channel
from chatsvc.core.page import NO_BYTE_BOUND, Bounds, Page, RecordPage, fit
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from testkit.records import KINDS, MESSAGES_ALONE
from tests.unit.support.history_worlds import ids
from tests.unit.support.member_world import (
    GROUPS,
    USERS,
    MemberStore,
    Story,
    TrueMemberships,
    at,
    messages,
)

KINDS_ASKED = [None, frozenset({"message"}), frozenset({"edit"}), frozenset({"edit", "message"})]


def page_of(records: Sequence[Record], bounds: Bounds) -> tuple[list[int], bool]:
    """What a page has, and whether there is more."""
    inside = [one for one in records if bounds.after < one.id < bounds.before]
    kept = fit(
        inside,
        lambda one: len(one.body),
        bounds.limit,
        bounds.max_bytes,
        from_end=bounds.newest,
    )
    return [one.id for one in kept], len(kept) < len(inside)


class World:
    """History over a log and a store, with the truth of both."""

    def __init__(self, dice: random.Random, tail: Tail) -> None:
        self.dice = dice
        self.story = Story(dice)
        self.truth = self.story.truth
        self.tail = tail
        self.store = MemberStore(self.truth)
        self.memberships = TrueMemberships(self.truth, tail)
        self.history = History(
            self.store, tail, kinds=KINDS, memberships=self.memberships, breaker_seconds=0.0
        )

    def move(self) -> None:
        """Something is accepted, or stored."""
        for _ in range(self.dice.randrange(4)):
            if self.dice.random() < 0.6:
                self.tail.extend([self.story.next()])
                continue
            for one in self.tail.batch(self.tail.watermark, self.dice.randrange(1, 6), 1 << 20):
                self.store.keep(one)
                if self.dice.random() < 0.8:
                    self.tail.advance(one.id)

    @property
    def as_of(self) -> int:
        """The last id that there was when memberships were last asked."""
        return at(self.memberships.as_of[-1])

    def of_user(self, user: str) -> list[Record]:
        """The user's, as of then."""
        return [one for one in self.truth.of_user(user) if one.id <= self.as_of]

    def of_group(self, user: str, channel: str, *, named: bool = False) -> list[Record]:
        """What the user saw of a group, as of then."""
        return self.truth.of_group(user, channel, named=named, as_of=self.as_of)

    async def check(self, user: str, channel: str) -> None:
        """Every page and count, of a user and of a group."""
        bounds = self.story.bounds()
        page = await self.history.user_page(user, bounds)
        self._expect(page, messages(self.of_user(user)), bounds)
        page = await self.history.channel_page(channel, bounds, reader=user)
        self._expect(page, messages(self.of_group(user, channel)), bounds)
        await self._check_records(user, channel)
        count = await self.history.records.count_user(user, bounds, MESSAGES_ALONE)
        everything = bounds._replace(max_bytes=NO_BYTE_BOUND)
        assert count == len(page_of(messages(self.of_user(user)), everything)[0])
        may = await self.history.participants(user, channel)
        intervals = self.truth.of(user, channel)
        assert may == (() if any(one.first <= self.as_of for one in intervals) else None)

    async def _check_records(self, user: str, channel: str) -> None:
        bounds = self.story.bounds(newest=False)
        kinds = self.dice.choice(KINDS_ASKED)

        def asked(records: Sequence[Record]) -> list[Record]:
            return [one for one in records if kinds is None or one.kind in kinds]

        records = self.history.records
        page = await records.user_page(user, bounds, kinds)
        self._expect_records(page, asked(self.of_user(user)), bounds)
        page = await records.channel_page(channel, bounds, kinds, reader=user)
        named = kinds != frozenset({"message"})
        self._expect_records(page, asked(self.of_group(user, channel, named=named)), bounds)
        if kinds is None or kinds == {"message"}:
            count = await records.count_user(user, bounds, kinds)
            everything = bounds._replace(max_bytes=NO_BYTE_BOUND)
            assert count == len(page_of(asked(self.of_user(user)), everything)[0])

    def _expect_records(self, page: RecordPage, records: Sequence[Record], bounds: Bounds) -> None:
        """Of the page nothing is left out up to ``up_to``, and nothing above where that is all."""
        read = ids(page.entries)
        assert read == page_of(records, bounds)[0]
        inside = [one.id for one in records if bounds.after < one.id < bounds.before]
        assert [one for one in inside if one <= page.up_to] == read
        assert page.has_more or inside == read
        assert page.up_to <= max(self.as_of, bounds.after)
        assert page.complete

    def _expect(self, page: Page, records: Sequence[Record], bounds: Bounds) -> None:
        kept, has_more = page_of(records, bounds)
        assert ids(page.entries) == kept
        assert page.has_more == has_more
        assert page.complete

    async def check_around(self, user: str, channel: str) -> None:
        """A message and what is beside it, while nothing moves."""
        middle = at(self.dice.randrange(len(self.truth.records) + 2))
        limit = self.dice.choice([1, 2, 5, 100])
        for records, page in (
            (
                messages(self.truth.of_user(user)),
                await self.history.user_around(user, middle, limit),
            ),
            (
                messages(self.truth.of_group(user, channel, named=False)),
                await self.history.channel_around(channel, middle, limit, reader=user),
            ),
        ):
            older = [one.id for one in records if one.id < middle]
            kept = older[max(len(older) - limit // 2, 0) :]
            newer = [one.id for one in records if one.id >= middle][: limit - len(kept)]
            assert ids(page.entries) == kept + newer

    async def check_listing(self, user: str) -> None:
        """A user's conversations, page by page, while nothing moves."""
        found: list[int] = []
        before, limit = MAX_ID, self.dice.choice([1, 2, 50])
        while True:
            page = await self.history.conversations(user, before=before, limit=limit)
            assert page.complete
            for one in page.conversations:
                assert (one.participants == ()) == is_member_channel(one.channel)
            found += [one.last_id for one in page.conversations]
            if not page.has_more:
                break
            before = found[-1]
        assert found == self.truth.listing(user)

    async def check_get(self, user: str) -> None:
        """Any message, of whomever."""
        for one in self.dice.sample(self.truth.records, min(5, len(self.truth.records))):
            found = await self.history.get(one.id, reader=user)
            if not is_member_channel(one.channel):
                assert (found is not None) == KINDS.counts(one.kind)
                continue
            shown = user in one.audience or self.truth.is_shown(user, one, named=False)
            assert (found is not None) == (shown and KINDS.counts(one.kind))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), recent=st.sampled_from([1, 5000, 20_000, 1 << 30]))
def test_any_interleaving_gives_exactly_the_truth(seed: int, recent: int) -> None:
    """Joins, leaves, appends, advances and evictions between and during reads."""
    asyncio.run(_interleave(random.Random(seed), recent))


async def _interleave(dice: random.Random, recent: int) -> None:
    world = World(dice, Tail(recent_bytes=recent))
    for _ in range(12):
        for _ in range(3):
            world.move()
        world.store.before_read = world.memberships.meanwhile = world.move
        await world.check(dice.choice(USERS), dice.choice(GROUPS))
        world.store.before_read, world.memberships.meanwhile = None, lambda: None
        await world.check_around(dice.choice(USERS), dice.choice(GROUPS))
        await world.check_listing(dice.choice(USERS))
        await world.check_get(dice.choice(USERS))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_log_that_lacks_what_the_store_has_gives_the_same(seed: int) -> None:
    """Up to the base both are read."""
    asyncio.run(_merge(random.Random(seed)))


async def _merge(dice: random.Random) -> None:
    tail = Tail(recent_bytes=1 << 30)
    world = World(dice, tail)
    everything = [world.story.next() for _ in range(40)]
    evicted, stored = sorted(dice.sample(range(40), 2))
    base = dice.randrange(stored, 40)
    lost = {n for n in range(evicted + 1, base + 1) if dice.random() < 0.4}
    floor = at(evicted)
    merged = Tail(recent_bytes=1 << 30, watermark=floor, floor=floor, base=at(base))
    merged.extend([one for n, one in enumerate(everything, 1) if n > evicted and n not in lost])
    merged.advance(at(stored))
    for number, one in enumerate(everything, 1):
        if number <= stored or number in lost:
            world.store.keep(one)
    world.tail, world.memberships = merged, TrueMemberships(world.truth, merged)
    world.history = History(
        world.store, merged, kinds=KINDS, memberships=world.memberships, breaker_seconds=0.0
    )
    for _ in range(5):
        user, channel = dice.choice(USERS), dice.choice(GROUPS)
        await world.check(user, channel)
        await world.check_around(user, channel)
