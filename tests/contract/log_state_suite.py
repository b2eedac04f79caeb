"""What every log promises of the state that it keeps beside its records, as tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import (
    THIS_RECORD,
    Channel,
    Filter,
    Interval,
    Member,
    RequestKey,
    StateChange,
)
from chatsvc.core.page import Bounds
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended, MessageLog
from testkit.drafts import draft
from testkit.group_drafts import GROUP, joining, leaving, member_change, said
from tests.contract.log_suite import Backend

T = TypeVar("T")
SOON = 30.0


async def soon(future: Awaitable[T]) -> T:
    return await asyncio.wait_for(future, SOON)


def count_in(appended: Appended) -> int:
    body: dict[str, Any] = json.loads(appended.body)
    return int(body["member_count"])


async def member_of(log: MessageLog, user: str) -> Member:
    member = log.state.member(GROUP, user)
    assert member is not None
    return member


class StateSuite:
    """Subclasses give the fixtures ``backend`` and ``log`` of :class:`LogSuite`."""

    async def test_a_log_without_state_knows_of_nobody(self, log: MessageLog) -> None:
        await soon(log.append(draft("x")))
        state = log.state
        assert (state.member(GROUP, "alice"), state.channel(GROUP)) == (None, None)
        assert [*state.intervals("alice"), *state.filters("alice").rows] == []

    async def test_rows_are_read_when_the_record_is_acknowledged(self, log: MessageLog) -> None:
        made = await soon(log.append(joining("alice", "bob", role="admin")))
        assert log.state.member(GROUP, "bob") == Member("bob", made.id, 0, "admin", made.id)
        assert log.state.member(GROUP, "carol") is None
        assert log.state.channel(GROUP) == Channel(2)
        assert list(log.state.intervals("bob")) == [Interval(GROUP, made.id, MAX_ID, made.id)]
        (record,) = log.tail.page(Bounds(9))
        assert record.state == StateChange(
            tuple(Member(user, made.id, 0, "admin", made.id) for user in ("alice", "bob")),
            Channel(2),
        )

    async def test_members_are_counted_by_the_log(self, log: MessageLog) -> None:
        assert count_in(await soon(log.append(joining("alice", "bob", "carol")))) == 3
        assert count_in(await soon(log.append(joining("dave")))) == 4
        bob = await member_of(log, "bob")
        admin = msgspec.structs.replace(bob, role="admin")
        assert count_in(await soon(log.append(member_change(admin)))) == 4
        assert count_in(await soon(log.append(leaving(admin)))) == 3
        assert count_in(await soon(log.append(leaving(admin)))) == 3, "it had ended already"
        banned = Member("eve", 0, banned_until=9)
        assert count_in(await soon(log.append(member_change(banned)))) == 3
        assert count_in(await soon(log.append(joining("bob", "eve")))) == 5
        assert log.state.channel(GROUP) == Channel(5)

    async def test_a_change_of_a_membership_that_was_followed_by_another_counts_nobody(
        self, log: MessageLog
    ) -> None:
        first = await soon(log.append(joining("bob")))
        banned = Member("bob", first.id, THIS_RECORD, banned_until=5)
        left = await soon(log.append(member_change(banned)))
        await soon(log.append(joining("bob")))
        assert (
            count_in(await soon(log.append(member_change(Member("bob", first.id, left.id))))) == 1
        )

    async def test_records_of_one_commit_are_counted_one_after_another(
        self, log: MessageLog
    ) -> None:
        futures = [log.append(joining(f"user {at}")) for at in range(20)]
        assert [count_in(await soon(one)) for one in futures] == list(range(1, 21))
        both = await soon(log.append_all([joining("alice"), said("hello"), joining("bob")]))
        assert [count_in(both[0]), count_in(both[2])] == [21, 22]
        assert b"member_count" not in both[1].body

    async def test_settings_stay_where_a_record_does_not_name_them(self, log: MessageLog) -> None:
        named = Channel(99, b'{"name":"x"}')
        await soon(log.append(member_change(Member("alice", THIS_RECORD), state=named)))
        assert log.state.channel(GROUP) == Channel(1, b'{"name":"x"}')
        await soon(log.append(joining("bob")))
        assert log.state.channel(GROUP) == Channel(2, b'{"name":"x"}')
        await soon(log.append(member_change(state=Channel(0, b"{}"))))
        assert log.state.channel(GROUP) == Channel(2)

    async def test_an_interval_has_the_records_that_began_and_ended_it(
        self, log: MessageLog
    ) -> None:
        first = await soon(log.append(joining("alice")))
        ended = await soon(log.append(leaving(await member_of(log, "alice"))))
        again = await soon(log.append(joining("alice")))
        assert list(log.state.intervals("alice")) == [
            Interval(GROUP, first.id, ended.id, 0),
            Interval(GROUP, again.id, MAX_ID, again.id),
        ]
        assert await member_of(log, "alice") == Member("alice", again.id, visible_from=again.id)

    async def test_the_end_of_a_channel_ends_its_memberships(self, log: MessageLog) -> None:
        first = await soon(log.append(joining("alice", "bob")))
        bob = await member_of(log, "bob")
        left = await soon(log.append(leaving(bob)))
        ended = await soon(log.append(member_change(state=Channel(dissolved=THIS_RECORD))))
        assert count_in(ended) == 0
        assert log.state.channel(GROUP) == Channel(0, b"{}", ended.id)
        assert [one[1:3] for one in log.state.intervals("alice")] == [(first.id, ended.id)]
        assert [one[1:3] for one in log.state.intervals("bob")] == [(first.id, left.id)]

    async def test_filters_are_rows_of_their_user(self, log: MessageLog) -> None:
        block = StateChange(filters=(Filter("alice", "block", "bob", THIS_RECORD),))
        made = await soon(log.append(msgspec.structs.replace(draft("x"), state=block)))
        assert log.state.filters("alice").rows == (Filter("alice", "block", "bob", made.id),)
        assert not log.state.filters("bob")
        ended = StateChange(filters=(Filter("alice", "block", "bob", made.id, THIS_RECORD),))
        until = await soon(log.append(msgspec.structs.replace(draft("y"), state=ended)))
        assert log.state.filters("alice").rows == (
            Filter("alice", "block", "bob", made.id, until.id),
        )
        assert log.state.channel("alice,bob") is None

    async def test_a_retry_changes_no_row(self, log: MessageLog) -> None:
        one = member_change(Member("alice", THIS_RECORD), client_id="k")
        first, second = log.append(one), log.append(one)
        made = await soon(first)
        assert count_in(made) == 1
        assert await soon(second) == Appended(made.id, made.body, True)
        assert await soon(log.append(one)) == Appended(made.id, made.body, True)
        assert log.state.channel(GROUP) == Channel(1)

    async def test_requests_that_became_one_record_are_known(self, log: MessageLog) -> None:
        keys = (RequestKey("bob", "b", b"1"), RequestKey("carol", "c", b"2"))
        made = await soon(log.append(msgspec.structs.replace(joining("bob", "carol"), keys=keys)))
        for user, client_id, digest in (("bob", "b", b"1"), ("carol", "c", b"2")):
            retry = msgspec.structs.replace(
                member_change(Member(user, THIS_RECORD), sender=user, client_id=client_id),
                digest=digest,
            )
            assert await soon(log.append(retry)) == Appended(made.id, made.body, True)
            assert log.first_use((user, GROUP, client_id)) == (made.id, digest)
        assert log.first_use(("bob", GROUP, "c")) is None

    async def test_rows_survive_a_death(self, backend: Backend) -> None:
        async with backend.died() as log:
            await soon(log.append(joining("alice", "bob")))
            await soon(log.append(leaving(await member_of(log, "bob"))))
            state = _read(log)
            drafts: list[Draft] = [joining(f"user {at}") for at in range(3)]
            await asyncio.gather(*(soon(log.append(one)) for one in drafts))
            after = _read(log)
        async with backend.opened() as log:
            assert _read(log) == after != state
            assert count_in(await soon(log.append(joining("bob")))) == 5


def _read(log: MessageLog) -> list[object]:
    users = ["alice", "bob", *(f"user {at}" for at in range(3))]
    return [log.state.channel(GROUP), *(log.state.intervals(user) for user in users)]
