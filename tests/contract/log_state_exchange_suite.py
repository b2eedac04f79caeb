"""What every log promises of its state where a store has seen something else, as tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import pytest

from chatsvc.core.errors import LogUnavailable
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.membership import Channel, Filter, Member
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StateRow
from chatsvc.log.base import MessageLog
from chatsvc.log.group_commit import COMMIT_RECORDS
from chatsvc.log.reconcile import Mark, StoreState
from chatsvc.log.state import StateDue
from testkit.drafts import draft
from testkit.group_drafts import GROUP, Group, joining, leaving
from tests.contract.log_suite import EMPTY, Backend

T = TypeVar("T")
SOON = 30.0


async def soon(future: Awaitable[T]) -> T:
    return await asyncio.wait_for(future, SOON)


def ahead_of(log: MessageLog) -> StoreState:
    """A store that has seen what this log has not: it was restored to an earlier moment."""
    position = log.tail.head + 1000 * STEP
    return StoreState(EMPTY.identity, Mark(position, 9, "another past"), position)


def rows_of(*users: str, rev: int = STEP) -> list[StateRow]:
    return [
        *(MemberRow(GROUP, Member(user, rev, visible_from=rev), rev) for user in users),
        ChannelRow(GROUP, Channel(len(users), b'{"name":"x"}'), rev),
        FilterRow(Filter("alice", "block", "eve", rev), rev),
    ]


async def adopt(log: MessageLog, *pages: Sequence[StateRow]) -> None:
    await soon(log.exchange.begin_adoption())
    for page in pages:
        await soon(log.exchange.adopt(page))
    await soon(log.exchange.end_adoption())


async def all_rows(log: MessageLog, limit: int) -> list[StateRow]:
    rows: list[StateRow] = []
    after = ""
    while True:
        page = await soon(log.exchange.state_page(after, limit))
        assert len(page.rows) <= limit
        rows += page.rows
        after = page.after
        if not after:
            return rows


class StateExchangeSuite:
    """Subclasses give the fixtures ``backend`` and ``log`` of :class:`Opened`."""

    async def test_a_store_that_is_ahead_has_the_state(self, log: MessageLog) -> None:
        await soon(log.append(joining("bob")))
        assert log.exchange.state_due is StateDue.NOTHING
        await soon(log.attach_store(ahead_of(log)))
        assert log.exchange.state_due is StateDue.ADOPTION

    async def test_until_it_is_adopted_nothing_is_decided(self, log: MessageLog) -> None:
        await soon(log.attach_store(ahead_of(log)))
        for call in (
            lambda: log.state.member(GROUP, "alice"),
            lambda: log.state.channel(GROUP),
            lambda: log.state.channel_row(GROUP),
            lambda: log.state.members_page(GROUP, (0, ""), 1),
            lambda: log.state.intervals("alice"),
            lambda: log.state.filters("alice"),
        ):
            with pytest.raises(LogUnavailable) as raised:
                call()
            assert (raised.value.code, raised.value.retry_after) == ("adopting", 1.0)
        with pytest.raises(LogUnavailable, match="being read from the database") as raised:
            await soon(log.append(joining("bob")))
        assert raised.value.code == "adopting"
        await soon(log.append(draft("sets go on")))

    async def test_what_is_adopted_replaces_what_was_there(self, log: MessageLog) -> None:
        """The store has seen how a membership ended that this log thinks goes on."""
        old = await soon(log.append(joining("old")))
        log.advance_watermark(log.tail.head)
        store = ahead_of(log)
        await soon(log.attach_store(store))
        ended = Member("old", old.id, store.extent)
        rows = [*rows_of("alice", "bob", rev=store.extent), MemberRow(GROUP, ended, store.extent)]
        told: list[StateDue] = []

        async def listener() -> None:
            told.append(log.exchange.state_due)
            assert log.state.intervals("bob"), "read by whoever follows them"
            for call in (log.state.member, lambda *_: log.state.channel(GROUP)):
                with pytest.raises(LogUnavailable):
                    call(GROUP, "bob")
            with pytest.raises(LogUnavailable) as raised:
                await soon(log.append(joining("eve")))
            assert raised.value.code == "adopting"

        log.state.on_adopted(listener)
        await adopt(log, rows[:1], rows[1:])
        assert told == [StateDue.NOTHING]
        assert log.state.member(GROUP, "old") == ended
        at = store.extent
        assert log.state.member(GROUP, "bob") == Member("bob", at, visible_from=at)
        assert log.state.channel(GROUP) == Channel(2, b'{"name":"x"}')
        assert log.state.filters("alice").rows == (Filter("alice", "block", "eve", at),)
        assert isinstance(await soon(Group(log).join("carol")), list)
        assert log.state.channel(GROUP) == Channel(3, b'{"name":"x"}')

    async def test_the_logs_own_records_come_on_top(self, log: MessageLog) -> None:
        joined = await soon(log.append(joining("carol", "dave")))
        left = await soon(log.append(leaving(Member("dave", joined.id))))
        await soon(log.attach_store(ahead_of(log)))
        await adopt(log, rows_of("alice"))
        assert log.state.member(GROUP, "carol") == Member(
            "carol", joined.id, visible_from=joined.id
        )
        assert log.state.member(GROUP, "dave") == Member("dave", joined.id, left.id)
        assert log.state.channel(GROUP) == Channel(2), "the newer row, with a new count"

    @pytest.mark.parametrize("later", [False, True])
    async def test_who_joined_in_both_pasts_leaves_once(self, log: MessageLog, later: bool) -> None:
        mine = (await soon(log.append(joining("bob")))).id
        store = ahead_of(log)
        theirs = store.extent - STEP if later else STEP
        await soon(log.attach_store(store))
        await adopt(log, rows_of("bob", rev=theirs))
        first, second = sorted((mine, theirs))
        assert sorted(one[1:3] for one in log.state.intervals("bob")) == [
            (first, second - 1),
            (second, MAX_ID),
        ]
        assert log.exchange.state_due is StateDue.REWRITING, "the store has them side by side"
        assert log.state.channel(GROUP) == Channel(1, b"{}" if mine > theirs else b'{"name":"x"}')
        await soon(log.exchange.end_rewriting())
        await soon(Group(log).leave("bob"))
        assert all(one.last < MAX_ID for one in log.state.intervals("bob"))
        known = log.state.channel(GROUP)
        assert known is not None
        assert known.count == 0

    async def test_a_channel_that_ended_in_one_past_stays_ended(self, log: MessageLog) -> None:
        await soon(log.append(joining("bob")))
        await soon(log.attach_store(ahead_of(log)))
        rows = [
            MemberRow(GROUP, Member("eve", STEP), STEP),
            ChannelRow(GROUP, Channel(0, b"{}", 2 * STEP), 2 * STEP),
        ]
        await adopt(log, rows)
        assert log.state.channel(GROUP) == Channel(0, b"{}", 2 * STEP)
        assert [one[1:3] for one in log.state.intervals("eve")] == [(STEP, 2 * STEP)]

    async def test_of_two_rows_of_one_key_the_newer_stays(self, log: MessageLog) -> None:
        await soon(log.attach_store(ahead_of(log)))
        newer = MemberRow(GROUP, Member("alice", STEP, role="admin"), 9 * STEP)
        older = MemberRow(GROUP, Member("alice", STEP), 8 * STEP)
        await adopt(log, [newer], [older])
        assert log.state.member(GROUP, "alice") == newer.member

    async def test_an_adoption_that_was_broken_off_is_begun_again(self, backend: Backend) -> None:
        async with backend.died() as log:
            await soon(log.append(joining("old")))
            store = ahead_of(log)
            await soon(log.attach_store(store))
            await soon(log.exchange.begin_adoption())
            await soon(log.exchange.adopt(rows_of("half")))
        async with backend.opened() as log:
            assert log.exchange.state_due is StateDue.ADOPTION
            await soon(log.attach_store(store))
            assert log.exchange.state_due is StateDue.ADOPTION
            await adopt(log, rows_of("alice"))
            assert log.state.member(GROUP, "half") is None
        async with backend.opened() as log:
            assert log.exchange.state_due is not StateDue.ADOPTION
            assert log.state.channel(GROUP) == Channel(2)

    async def test_what_waited_when_rows_were_dropped_is_refused(self, log: MessageLog) -> None:
        """It would be counted without them. The sends of others go on."""
        first = (await soon(log.append(joining("alice", "bob")))).id
        sends = [log.append(draft(str(at))) for at in range(5 * COMMIT_RECORDS)]
        late = log.append(joining("carol"))
        # The log went on beyond what the store has seen, so a guard would not be stale.
        extent = log.tail.head
        await soon(log.attach_store(StoreState(EMPTY.identity, Mark(extent, 9, "other"), extent)))
        await soon(log.exchange.begin_adoption())
        with pytest.raises(LogUnavailable) as raised:
            await soon(late)
        assert raised.value.code == "adopting"
        assert len(await soon(asyncio.gather(*sends))) == len(sends)
        rows: list[StateRow] = [
            *(MemberRow(GROUP, Member(user, first), first) for user in ("alice", "bob")),
            ChannelRow(GROUP, Channel(2, b'{"name":"x"}'), first + STEP),
        ]
        await soon(log.exchange.adopt(rows))
        await soon(log.exchange.end_adoption())
        assert log.state.channel(GROUP) == Channel(2, b'{"name":"x"}')

    async def test_another_store_gets_the_rows(self, log: MessageLog) -> None:
        await soon(log.append(joining("alice")))
        log.advance_watermark(log.tail.head)
        await soon(log.attach_store(StoreState("another", None, 0)))
        assert log.exchange.state_due is StateDue.REWRITING
        assert log.state.channel(GROUP) == Channel(1), "it goes on meanwhile"
        await soon(log.append(joining("bob")))
        await soon(log.exchange.end_rewriting())
        assert log.exchange.state_due is StateDue.NOTHING

    @pytest.mark.parametrize("is_begun", [False, True])
    async def test_another_store_gets_the_rows_that_are_not_dropped_yet(
        self, log: MessageLog, is_begun: bool
    ) -> None:
        """The store whose rows were to be adopted is lost for good: these are all that is left."""
        await soon(log.append(joining("alice", "bob")))
        log.advance_watermark(log.tail.head)
        await soon(log.attach_store(ahead_of(log)))
        if is_begun:
            await soon(log.exchange.begin_adoption())
        await soon(log.attach_store(StoreState("another", None, 0)))
        if is_begun:
            assert log.exchange.state_due is StateDue.ADOPTION
            await adopt(log)  # what its own records tell
        else:
            assert log.exchange.state_due is StateDue.REWRITING
        assert log.state.channel(GROUP) == Channel(2)

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    async def test_rows_are_read_in_pages(self, log: MessageLog, limit: int) -> None:
        assert await all_rows(log, limit) == []
        await soon(log.attach_store(ahead_of(log)))
        other = [MemberRow(",g:other", Member("bob", 5), 7), ChannelRow(",g:other", Channel(1), 7)]
        rows = [*rows_of("alice", "bob"), *other]
        await adopt(log, rows)
        found = await all_rows(log, limit)
        assert sorted(map(repr, found)) == sorted(map(repr, rows))

    async def test_who_joined_in_both_pasts_is_a_member_once(self, log: MessageLog) -> None:
        """Of two memberships that go on no id is in both, and the store is told."""
        again = await soon(log.append(joining("alice", "bob")))
        left = await soon(log.append(leaving(Member("bob", again.id))))
        await soon(log.attach_store(ahead_of(log)))
        await adopt(log, rows_of("alice", "bob"))
        for user, last in (("alice", MAX_ID), ("bob", left.id)):
            intervals = [(one.first, one.last) for one in log.state.intervals_in(user, GROUP)]
            assert intervals == [(STEP, again.id - 1), (again.id, last)]
        assert log.state.channel(GROUP) == Channel(1)
        assert log.exchange.state_due is StateDue.REWRITING
        await soon(log.exchange.end_rewriting())
        assert log.exchange.state_due is StateDue.NOTHING

    async def test_rows_that_were_stored_in_part_agree(self, log: MessageLog) -> None:
        """A store without transactions took a part of a batch; the rest went with the log."""
        await soon(log.attach_store(ahead_of(log)))
        rows: list[StateRow] = [
            MemberRow(GROUP, Member("alice", STEP), STEP),  # its end is not in the store
            MemberRow(GROUP, Member("alice", 3 * STEP), 3 * STEP),
            ChannelRow(GROUP, Channel(2, b'{"name":"x"}'), 3 * STEP),  # nor is bob's beginning
        ]
        await adopt(log, rows)
        assert log.state.channel(GROUP) == Channel(1, b'{"name":"x"}')
        assert [one[1:3] for one in log.state.intervals_in("alice", GROUP)] == [
            (STEP, 3 * STEP - 1),
            (3 * STEP, MAX_ID),
        ]
        assert log.exchange.state_due is StateDue.REWRITING

    async def test_an_end_of_what_another_past_ended_counts_nobody_less(
        self, log: MessageLog
    ) -> None:
        """The store has seen that the person came back since."""
        first = await soon(log.append(joining("alice")))
        await soon(log.append(leaving(Member("alice", first.id))))
        store = ahead_of(log)
        await soon(log.attach_store(store))
        back = Member("alice", store.extent, visible_from=store.extent)
        row = MemberRow(GROUP, back, store.extent)
        await adopt(log, [row, ChannelRow(GROUP, Channel(1), store.extent)])
        assert log.state.member(GROUP, "alice") == back
        assert log.state.channel(GROUP) == Channel(1)

    async def test_a_count_that_is_new_replaces_that_of_the_store(self, log: MessageLog) -> None:
        """The log's records may be older than the store's row, which has not counted them."""
        await soon(log.append(joining("carol")))
        await soon(log.append(joining("dave")))
        store = ahead_of(log)
        await soon(log.attach_store(store))
        row = MemberRow(GROUP, Member("alice", store.extent), store.extent)
        await adopt(log, [row, ChannelRow(GROUP, Channel(1), store.extent)])
        (counted,) = [one for one in await all_rows(log, 100) if isinstance(one, ChannelRow)]
        assert counted.state == Channel(3)
        assert store.extent < counted.rev < store.extent + STEP
