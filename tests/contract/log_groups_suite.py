"""What decisions on a group come to on every log, however many there are at once, as tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatsvc.core.membership import Channel
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.log.base import MessageLog
from testkit.drafts import draft
from testkit.group_drafts import GROUP, Group, member_key
from tests.contract.log_suite import ALL, Backend

T = TypeVar("T")
SOON = 120.0

USERS = ["a", "b", "c", "d"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "say"]), st.sampled_from(USERS)), max_size=60
)


async def soon(future: Awaitable[T]) -> T:
    return await asyncio.wait_for(future, SOON)


def records_of(log: MessageLog) -> list[Record]:
    return log.tail.page(ALL)


class GroupSuite:
    """Subclasses give the fixtures ``backend`` and ``log`` of :class:`LogSuite`."""

    async def test_ten_thousand_joins_at_once_are_few_records(self, log: MessageLog) -> None:
        group = Group(log)
        users = [f"user {at}" for at in range(10_000)]
        results = await soon(asyncio.gather(*(group.join(user) for user in users)))
        assert all(isinstance(one, list) for one in results)
        records = records_of(log)
        assert len(records) <= 300
        joined = [one.user for record in records if record.state for one in record.state.members]
        assert sorted(joined) == sorted(users)
        assert log.state.channel(GROUP) == Channel(10_000)
        counts = [r.state.channel.count for r in records if r.state and r.state.channel]
        assert counts == sorted(counts)

    async def test_of_a_capacity_the_first_that_fit_are_in(self, log: MessageLog) -> None:
        group = Group(log, capacity=150)
        results = await soon(asyncio.gather(*(group.join(f"user {at}") for at in range(400))))
        assert [isinstance(one, list) for one in results] == [True] * 150 + [False] * 250
        assert set(map(str, results[150:])) == {"full"}
        assert log.state.channel(GROUP) == Channel(150)

    async def test_a_wish_that_is_fulfilled_is_no_record(self, log: MessageLog) -> None:
        group = Group(log)
        once, again = await soon(asyncio.gather(group.join("alice"), group.join("alice")))
        assert once == again
        assert await soon(group.join("alice")) == "member"
        assert log.state.channel(GROUP) == Channel(1)

    async def test_sends_are_never_refused_for_the_joins_of_others(self, log: MessageLog) -> None:
        group = Group(log)
        await soon(group.join("alice"))
        sends = [group.say("alice", str(at)) for at in range(300)]
        joins = [group.join(f"user {at}") for at in range(1700)]
        between = [one for six in range(300) for one in (sends[six], *joins[six * 5 : six * 5 + 5])]
        results: list[Any] = await soon(asyncio.gather(*between, *joins[1500:]))
        assert all(isinstance(one, list) for one in results)
        said = [one for one in records_of(log) if one.kind == "message"]
        assert len(said) == 300

    async def test_nobody_speaks_after_the_end_of_a_membership(self, log: MessageLog) -> None:
        group = Group(log)
        await soon(group.join("alice"))
        first = group.say("alice", "1")
        gone = group.leave("alice")
        last = group.say("alice", "2")
        one, _, two = await soon(asyncio.gather(first, gone, last))
        assert isinstance(one, list)
        assert two == "no member"

    async def test_a_quiet_group_takes_a_send_after_a_start(self, backend: Backend) -> None:
        async with backend.opened() as log:
            await soon(Group(log).join("alice"))
        async with backend.opened() as log:
            assert isinstance(await soon(Group(log).say("alice")), list)
            for at in range(50):
                await soon(log.append(draft(str(at))))
            log.advance_watermark(log.tail.head)
            assert isinstance(await soon(Group(log).say("alice")), list)

    @settings(
        max_examples=30,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            # A mutation tool runs it twice in one process, each time on an instance of its own.
            HealthCheck.differing_executors,
        ],
    )
    @given(steps=STEPS, together=st.integers(1, 20))
    async def test_any_interleaving_is_a_serial_order(
        self, log: MessageLog, steps: list[tuple[str, str]], together: int
    ) -> None:
        """Each record is right by what the records before it say, in the order of ids."""
        before = log.tail.head
        channel = f",g:{before:x}"  # one that no other example has changed
        group = Group(log, channel, capacity=3)
        for start in range(0, len(steps), together):
            calls = [getattr(group, what)(user) for what, user in steps[start : start + together]]
            await soon(asyncio.gather(*calls))
        members: set[str] = set()
        for record in log.tail.page(Bounds(1_000_000, after=before, newest=False)):
            if record.state is None:
                assert record.sender in members, "who speaks is a member"
                continue
            for one in record.state.members:
                assert one.is_present != (one.user in members), "a change changes something"
                (members.add if one.is_present else members.discard)(one.user)
                assert member_key(one.user, channel) in record.touches
            assert record.state.channel is not None
            assert record.state.channel.count == len(members) <= 3
        assert {user for user in USERS if _is_member(log, channel, user)} == members


def _is_member(log: MessageLog, channel: str, user: str) -> bool:
    member = log.state.member(channel, user)
    return member is not None and member.is_present
