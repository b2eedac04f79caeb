"""Groups and rooms in a log and a store, and the plain truth of who may read what of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from chatsvc.core.audience import names_readers
from chatsvc.core.conversation import Conversation
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.membership import Interval, is_member_channel
from chatsvc.core.page import MAX_PAGE_BYTES, NO_BYTE_BOUND, Bounds, Entry, take
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.memberships import ChannelIntervals, Memberships
from testkit.groups import group_change, group_message
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, START, change, record

USERS: Final = ("ada", "bob", "cleo", "dan", "eve", "finn")
GROUPS: Final = (",g:team", ",g:other", ",r:lobby")


def at(number: int) -> int:
    """The id of the ``number``-th record."""
    return START + number * STEP


class Truth:
    """Every record there ever was, ascending, and every interval."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.intervals: list[tuple[str, Interval]] = []

    def of(self, user: str, channel: str | None = None) -> list[Interval]:
        """The intervals of a user, in one channel or in all."""
        return [
            one for owner, one in self.intervals if owner == user and channel in (None, one.channel)
        ]

    def is_for(self, user: str, one: Record) -> bool:
        """Whether a record is for a user, live and in what is read over all conversations."""
        if one.audience or not is_member_channel(one.channel):
            return user in one.audience
        return any(each.holds(one.id) for each in self.of(user, one.channel))

    def is_shown(self, user: str, one: Record, *, named: bool, as_of: int = MAX_ID) -> bool:
        """Whether pages of its group show a record to a user.

        ``named``: those that name the user too. ``as_of``: a later join may show what was before.
        """
        if one.audience and not (named and user in one.audience):
            return False
        return any(
            (each.visible_from or each.first) <= one.id <= each.last
            for each in self.of(user, one.channel)
            if each.first <= as_of
        )

    def lists(self, user: str, one: Record) -> bool:
        """Whether a user's conversations may be listed by a message."""
        if not is_member_channel(one.channel):
            return user in one.audience
        return not one.audience and any(
            each.holds(one.id) and one.id >= each.visible_from
            for each in self.of(user, one.channel)
        )

    def of_user(self, user: str) -> list[Record]:
        """A user's records."""
        return [one for one in self.records if self.is_for(user, one)]

    def of_group(
        self, user: str, channel: str, *, named: bool, as_of: int = MAX_ID
    ) -> list[Record]:
        """What a user sees of a group or a room."""
        own = [one for one in self.records if one.channel == channel and one.id <= as_of]
        return [one for one in own if self.is_shown(user, one, named=named, as_of=as_of)]

    def listing(self, user: str) -> list[int]:
        """The newest messages of a user's conversations, newest first."""
        newest = {one.channel: one.id for one in messages(self.records) if self.lists(user, one)}
        return sorted(newest.values(), reverse=True)


def messages(records: Iterable[Record]) -> list[Record]:
    """Those that count."""
    return [one for one in records if KINDS.counts(one.kind)]


class TrueMemberships(Memberships):
    """Knows the truth, after a moment in which ``meanwhile`` is called.

    ``as_of``: how many records there were when it answered, each time.
    """

    def __init__(self, truth: Truth, tail: Tail) -> None:
        self._truth = truth
        self._tail = tail
        self.meanwhile: Callable[[], object] = lambda: None
        self.as_of: list[int] = []
        self.asked: list[tuple[str, ...]] = []

    async def intervals(self, user: str) -> Sequence[Interval]:
        """Those that may hold a record of the tail."""
        await self._moment(user)
        return [one for one in self._truth.of(user) if one.last > self._tail.floor]

    async def intervals_in(self, user: str, channel: str) -> ChannelIntervals:
        """All of one channel."""
        await self._moment(user, channel)
        return ChannelIntervals(self._truth.of(user, channel))

    async def _moment(self, *asked: str) -> None:
        await asyncio.sleep(0)
        self.meanwhile()
        self.asked.append(asked)
        self.as_of.append(len(self._truth.records))


class MemberStore(MemoryStore):
    """Judges by the truth, as a store does by its own rows."""

    def __init__(self, truth: Truth) -> None:
        super().__init__(kinds=KINDS)
        self._truth = truth

    def keep(self, one: Record) -> None:
        """Hold a record."""
        held = self.records if KINDS.counts(one.kind) else self.disk.changes
        held[one.id] = one

    async def user_records(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._page(lambda one: self._truth.is_for(user, one), bounds, changes=True)

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._page(lambda one: self._truth.is_for(user, one), bounds)

    async def count_user_records(self, user: str, bounds: Bounds) -> int:
        return len(await self.user_records(user, bounds._replace(max_bytes=NO_BYTE_BOUND)))

    async def channel_records(self, channel: str, bounds: Bounds, *, reader: str) -> list[Entry]:
        def ours(one: Record) -> bool:
            named = names_readers(channel, one.audience)
            return one.channel == channel and (not named or reader in one.audience)

        return await self._page(ours, bounds, changes=True)

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        def ours(one: Record) -> bool:
            return one.channel == channel and not names_readers(channel, one.audience)

        return await self._page(ours, bounds)

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        await self._wait()
        held = [self.records[key] for key in sorted(self.records)]
        newest = {one.channel: one for one in held if self._truth.lists(user, one)}
        found = [
            Conversation(one.channel, one.audience, one.id, one.body)
            for one in newest.values()
            if one.id < before
        ]
        found = sorted(found, key=lambda one: -one.last_id)[:limit]
        return take(found, lambda one: len(one.last_message), max_bytes)


def in_group(number: int, text: str, channel: str, kind: str, to: Sequence[str] = ()) -> Record:
    """A message to members, or a change."""
    if kind == "message":
        return group_message(number, text, channel=channel, to=to)
    return group_change(number, kind, channel=channel, to=to, text=text)


class Story:
    """People who join, leave and write, as dice have it."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.truth = Truth()

    def next(self) -> Record:
        """The next record of the log, which may begin or end an interval."""
        dice, number = self.dice, len(self.truth.records) + 1
        user, channel = dice.choice(USERS), dice.choice(GROUPS)
        what = dice.choice(["set", "join", "join", "leave", "say", "say", "say", "named", "change"])
        text = "x" * dice.choice([1, 50, 300])
        if what == "set":
            people = dice.sample(USERS, dice.randrange(1, 6))
            made = record(number, text, to=people)
            made = made if dice.random() < 0.7 else change(number, to=people)
        elif what in ("join", "leave") and self._change(
            user, channel, number, joins=what == "join"
        ):
            made = group_change(number, channel=channel, text=text)
        elif what == "named":
            kind = dice.choice(["edit", "reaction", "message"])
            named = dice.sample(USERS, dice.randrange(1, 6))
            made = in_group(number, text, channel, kind, named)
        else:
            kind = "reaction" if what == "change" else "message"
            made = in_group(number, text, channel, kind)
        self.truth.records.append(made)
        return made

    def _change(self, user: str, channel: str, number: int, *, joins: bool) -> bool:
        intervals = self.truth.intervals
        going_on = [
            index
            for index, (owner, one) in enumerate(intervals)
            if (owner, one.channel, one.last) == (user, channel, MAX_ID)
        ]
        if joins == bool(going_on):
            return False
        if joins:
            visible = self.dice.choice([0, 0, 1, at(number), at(number // 2), at(number + 3)])
            intervals.append((user, Interval(channel, at(number), MAX_ID, visible)))
        else:
            owner, one = intervals[going_on[0]]
            intervals[going_on[0]] = owner, one._replace(last=at(number))
        return True

    def bounds(self, *, newest: bool | None = None) -> Bounds:
        """Any, over about what there is."""
        dice, count = self.dice, len(self.truth.records)
        return Bounds(
            dice.choice([1, 2, 3, 7, 100]),
            after=dice.choice([0, 0, at(dice.randrange(count + 1))]),
            before=dice.choice([MAX_ID, MAX_ID, at(dice.randrange(count + 2))]),
            newest=dice.random() < 0.5 if newest is None else newest,
            max_bytes=dice.choice([MAX_PAGE_BYTES, MAX_PAGE_BYTES, 700, 1]),
        )
