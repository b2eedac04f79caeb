"""What holds of groups whatever is asked for at once, and however quiet they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from chatsvc.core.errors import Forbidden
from chatsvc.core.limits import Limits
from chatsvc.core.page import Bounds
from chatsvc.core.record import Draft
from chatsvc.features.groups.members import GroupMembers
from chatsvc.features.groups.service import GroupPatch, GroupService
from chatsvc.features.groups.settings import GroupSettings, JoinPolicy, Role
from chatsvc.log.base import Appended
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.local.log import LocalLog
from chatsvc.log.merging import Merging
from chatsvc.storage.history.repeats import Repeats
from testkit.drafts import draft
from tests.unit.support.local_logs import NOTHING

ALL = Bounds(limit=1000, newest=False)
BEGINNINGS = 20
"""How many conversations a sender may begin in an hour."""


class NothingUsed(Repeats):
    """No ``client_id`` was used."""

    def __init__(self) -> None:
        """Without a log."""

    async def find(self, draft: Draft) -> Appended | None:
        return None


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[LocalLog]:
    log = await LocalLog.open(
        tmp_path,
        recent_bytes=1 << 20,
        backlog_bytes=1 << 26,
        idempotency_ms=600_000,
        idempotency_keys=1000,
        retention_ms=86_400_000,
        new_conversations=BEGINNINGS,
        store=NOTHING,
    )
    yield log
    await log.close()


@pytest.fixture
def service(log: LocalLog) -> GroupService:
    limits = Limits(group_members=3, groups_per_user=2)
    return GroupService(log=log, deciding=Deciding(log), repeats=NothingUsed(), limits=limits)


@pytest.fixture
def members(log: LocalLog) -> GroupMembers:
    return GroupMembers(log=log, merging=Merging(Deciding(log)), limits=Limits(group_members=3))


async def create(service: GroupService, *users: str, join: JoinPolicy = JoinPolicy.INVITE) -> str:
    made = await service.create("alice", GroupSettings(name="Club", join=join), users, None)
    return made.group.channel


async def test_no_membership_is_changed_in_a_group_that_has_ended(
    log: LocalLog, service: GroupService, members: GroupMembers
) -> None:
    channel = await create(service, "bob")
    await asyncio.gather(
        service.delete("alice", channel),
        members.remove(channel, "alice", "bob"),
        return_exceptions=True,
    )
    records = log.tail.page(ALL)
    assert records[-1].kind == "group"


async def test_nobody_joins_a_group_that_everybody_has_left(
    service: GroupService, members: GroupMembers
) -> None:
    channel = await create(service, join=JoinPolicy.OPEN)
    await members.remove(channel, "alice", "alice")
    with pytest.raises(Forbidden, match="must be a member"):
        await members.put(channel, "bob", "bob", None)


async def test_who_joins_twice_at_once_takes_one_place(
    service: GroupService, members: GroupMembers
) -> None:
    channel = await create(service, "bob", join=JoinPolicy.OPEN)
    await asyncio.gather(*(members.put(channel, "carol", "carol", None) for _ in range(2)))


async def test_who_joins_an_open_group_may_name_the_role_of_a_member(
    service: GroupService, members: GroupMembers
) -> None:
    channel = await create(service, join=JoinPolicy.OPEN)
    assert (await members.put(channel, "bob", "bob", Role.MEMBER)).role is Role.MEMBER


async def test_who_has_begun_many_conversations_may_still_leave(
    log: LocalLog, service: GroupService, members: GroupMembers
) -> None:
    channel = await create(service, "bob")
    assert log.tail.lists_channel(channel)
    for number in range(BEGINNINGS):
        await log.append(draft("x", sender="bob", to=(f"u{number}",)))
    for number in range(40):  # the group is not among the recent records any more
        sent = await log.append(draft(f"{number:050000d}", sender="erin", to=()))
        log.advance_watermark(sent.id)
    assert not log.tail.lists_channel(channel)
    await members.remove(channel, "bob", "bob")


async def test_a_user_is_in_a_bounded_number_of_groups_whatever_comes_at_once(
    log: LocalLog, service: GroupService
) -> None:
    done = await asyncio.gather(*(create(service) for _ in range(10)), return_exceptions=True)
    assert len(log.state.intervals("alice")) == 2
    refused = [one for one in done if not isinstance(one, str)]
    assert {getattr(one, "code", one) for one in refused} == {"too_many_groups"}
    assert len(refused) == 8


async def test_who_is_removed_right_after_a_change_is_told_that_it_was_made(
    service: GroupService, members: GroupMembers, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await create(service, "bob")
    await members.put(channel, "alice", "bob", Role.ADMIN)
    decide_again = service._deciding.decide_again

    async def and_removed(decide: Callable[[], Decision | None]) -> list[Appended] | None:
        done = await decide_again(decide)
        await members.remove(channel, "bob", "alice")
        return done

    monkeypatch.setattr(service._deciding, "decide_again", and_removed)
    changed = await service.update("alice", channel, GroupPatch(name="Readers"))
    assert (changed.settings.name, changed.member_count) == ("Readers", 2)
