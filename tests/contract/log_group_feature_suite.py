"""What the operations on groups come to on every log, many at once, as tests."""

from __future__ import annotations

import asyncio
from typing import Any

from chatsvc.core.limits import Limits
from chatsvc.features.groups.members import GroupMembers
from chatsvc.features.groups.service import GroupService
from chatsvc.features.groups.settings import GroupSettings, JoinPolicy
from chatsvc.features.messages.member_sends import MemberSends
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding
from chatsvc.log.merging import Merging
from chatsvc.storage.history.repeats import Repeats
from testkit.group_model import GroupModel
from tests.contract.log_suite import ALL

SOON = 120.0
JOINS = 10_000
SENDS = 500
LIMITS = Limits(group_members=JOINS + 1)


class NoStore:
    """A store that knows no ``client_id`` and has no record."""

    async def find_client_id(self, *_key: str, after: int) -> tuple[int, bytes] | None:
        return None

    async def body(self, record_id: int, *, reader: str) -> bytes | None:
        return None


class GroupFeatureSuite:
    """Subclasses give the fixtures ``backend`` and ``log`` of :class:`LogSuite`."""

    async def test_ten_thousand_join_an_open_group_while_members_write(
        self, log: MessageLog
    ) -> None:
        deciding, store = Deciding(log), NoStore()
        groups = GroupService(
            log=log, deciding=deciding, repeats=Repeats(log, store, store), limits=LIMITS
        )
        members = GroupMembers(log=log, merging=Merging(deciding), limits=LIMITS)
        sends = MemberSends(log=log, deciding=deciding, client_ids=store, limits=LIMITS)
        settings = GroupSettings(name="All", join=JoinPolicy.OPEN)
        created = await groups.create("alice", settings, (), None)
        channel = created.group.channel

        async def write() -> None:
            for at in range(SENDS):
                await sends.submit("alice", "", channel, str(at))

        joins = [members.put(channel, user, user, None) for user in map("u{}".format, range(JOINS))]
        results: list[Any] = await asyncio.wait_for(asyncio.gather(write(), *joins), SOON)
        assert [one.user for one in results[1:]] == [f"u{at}" for at in range(JOINS)]
        records = [one for one in log.tail.page(ALL) if one.channel == channel]
        model = GroupModel(JOINS + 1)
        for record in records:
            model.apply(record)
        assert model.said == [("alice", str(at)) for at in range(SENDS)]
        assert len(model.members) == JOINS + 1
        assert len(records) <= 1 + SENDS + 2 * JOINS // 100
        assert groups.get("u0", channel).member_count == JOINS + 1
