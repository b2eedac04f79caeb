"""Groups whose log was lost: what the store's rows make of them, and retries of their creation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from chatsvc.core.errors import Conflict, Forbidden, LogUnavailable
from chatsvc.core.limits import Limits
from chatsvc.core.record import Record
from chatsvc.core.state_rows import ChannelRow, StateRow
from chatsvc.features.groups.service import GroupService
from chatsvc.features.groups.settings import Role
from chatsvc.log.deciding import Deciding
from chatsvc.log.local.log import LocalLog
from chatsvc.log.reconcile import StoreState
from chatsvc.storage.history.repeats import Repeats
from testkit.memory_client_ids import first_use
from tests.unit.support.group_world import SETTINGS, Service
from tests.unit.support.local_logs import ALL, NOTHING

OPTIONS = {
    "recent_bytes": 1 << 20,
    "backlog_bytes": 1 << 30,
    "idempotency_ms": 600_000,
    "idempotency_keys": 1000,
    "retention_ms": 3_600_000,
}
KEY = "the club"


class Past:
    """What a store has of a log that is lost."""

    def __init__(self, channel: str, rows: Sequence[StateRow], records: Sequence[Record]) -> None:
        self.channel = channel
        self.rows = rows
        self.records = records

    async def find_client_id(
        self, sender: str, channel: str, client_id: str, *, after: int
    ) -> tuple[int, bytes] | None:
        return first_use(self.records, (sender, channel, client_id), after)

    async def body(self, record_id: int, *, reader: str) -> bytes | None:
        return next((one.body for one in self.records if one.id == record_id), None)


@pytest.fixture
async def past(tmp_path: Path) -> Past:
    """A group of a (admin), b (moderator) and c."""
    (tmp_path / "before").mkdir()
    log = await LocalLog.open(tmp_path / "before", store=NOTHING, **OPTIONS)
    service = Service(log, Limits())
    channel = (await service.groups.create("a", SETTINGS, ["b", "c"], KEY)).group.channel
    await service.members.put(channel, "a", "b", Role.MODERATOR)
    rows = (await log.exchange.state_page("", 100)).rows
    found = Past(channel, rows, log.tail.page(ALL))
    await log.close()
    return found


class After:
    """A new log beside the store of before."""

    def __init__(self, log: LocalLog, past: Past) -> None:
        self.log = log
        self.service = Service(log, Limits())
        self.groups = GroupService(
            log=log, deciding=Deciding(log), repeats=Repeats(log, past, past), limits=Limits()
        )

    async def adopt(self, rows: Sequence[StateRow]) -> None:
        await self.log.exchange.begin_adoption()
        await self.log.exchange.adopt(rows)
        await self.log.exchange.end_adoption()


@pytest.fixture
async def after(tmp_path: Path, past: Past) -> AsyncIterator[After]:
    (tmp_path / "after").mkdir()
    store = StoreState("s", None, past.records[-1].id)
    log = await LocalLog.open(tmp_path / "after", store=store, **OPTIONS)
    yield After(log, past)
    await log.close()


async def test_until_the_rows_are_adopted_nothing_is_told_of_groups(
    after: After, past: Past
) -> None:
    with pytest.raises(LogUnavailable, match="being read") as raised:
        after.groups.get("a", past.channel)
    assert raised.value.code == "adopting"
    for call in (
        after.service.members.put(past.channel, "d", "d", None),
        after.service.members.remove(past.channel, "c", "c"),
        after.groups.create("a", SETTINGS, (), None),
        after.groups.delete("a", past.channel),
    ):
        with pytest.raises(LogUnavailable):
            await call
    with pytest.raises(LogUnavailable):
        after.service.sends.submit("a", "", past.channel, "x")


async def test_adopted_rows_are_the_group_as_it_was(after: After, past: Past) -> None:
    await after.adopt(past.rows)
    members = after.service.members
    page = members.page(past.channel, "c", (0, ""), 10)
    assert [(one.user, one.role) for one in page.members] == [
        ("a", "admin"),
        ("b", "moderator"),
        ("c", "member"),
    ]
    assert after.groups.get("a", past.channel).settings.name == SETTINGS.name
    assert (await after.service.sends.submit("c", "", past.channel, "x")).id > past.records[-1].id
    await members.remove(past.channel, "a", "a")
    assert after.groups.get("b", past.channel).role == "admin"


async def test_a_retry_of_a_creation_that_only_the_store_has_is_that_group(
    after: After, past: Past
) -> None:
    await after.adopt(past.rows)
    again = await after.groups.create("a", SETTINGS, ["b", "c"], KEY)
    assert (again.is_repeat, again.group.channel) == (True, past.channel)
    assert again.group.member_count == 3
    with pytest.raises(Conflict):
        await after.groups.create("a", SETTINGS, ["b"], KEY)
    await after.service.members.remove(past.channel, "a", "a")
    with pytest.raises(Forbidden):
        await after.groups.create("a", SETTINGS, ["b", "c"], KEY)


async def test_a_retry_of_a_creation_that_is_forgotten_everywhere_is_that_group(
    after: After, past: Past
) -> None:
    await after.adopt(past.rows)
    groups = after.service.groups  # whose store knows no client_id
    again = await groups.create("a", SETTINGS, ["b", "c"], KEY)
    assert (again.is_repeat, again.group.channel) == (True, past.channel)
    await groups.delete("a", past.channel)
    with pytest.raises(Forbidden):
        await groups.create("a", SETTINGS, ["b", "c"], KEY)


async def test_a_group_that_lost_its_row_is_listed_and_can_be_left(
    after: After, past: Past
) -> None:
    """A store without transactions may have the members of a batch alone."""
    await after.adopt([row for row in past.rows if not isinstance(row, ChannelRow)])
    page = after.groups.page("a", "", 10)
    assert [(one.channel, one.member_count, one.settings.name) for one in page.groups] == [
        (past.channel, 3, "")
    ]
    await after.service.members.remove(past.channel, "a", "a")
    assert after.groups.page("a", "", 10).groups == []
    assert after.groups.get("b", past.channel).member_count == 2
