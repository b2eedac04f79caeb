"""Groups where a log is put back while the store has seen more: who is a member is the store's."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.kinds import Kinds
from chatsvc.core.membership import Channel
from chatsvc.core.message import MESSAGE
from chatsvc.core.page import Bounds
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.subscriptions import Subscriptions
from chatsvc.log.base import Appended
from chatsvc.log.local import maintenance
from chatsvc.log.local.snapshot import copy_database
from chatsvc.log.local.verify import begin_restored_epoch
from chatsvc.log.reconcile import StoreState
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.group_drafts import GROUP, MEMBER, Group
from testkit.process import command
from testkit.selecting import SELECTION
from tests.integration.support.put_back import Deployment
from tests.unit.support.sockets import attach, connection

KINDS = Kinds((MESSAGE, MEMBER))


class Site(Deployment):
    """With a group."""

    async def open(self, name: str, *, met: bool = True) -> Group:
        return Group(await self.open_log(name, met=met))

    async def store_all(self) -> None:
        """Let log and store meet, and store the rest."""
        await self.store_until(
            lambda log: (
                not log.exchange.state_due and not log.tail.unsaved_count and not log.tail.refilling
            )
        )

    def copy(self, name: str) -> None:
        """Copy the log as it is now, while it is open."""
        (self.folder / name).mkdir()
        copy_database(self.folder / "log" / "log.db", self.folder / name / "log.db")


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    # Once a second a log lets go of memberships that ended below its tail: they are compared here.
    monkeypatch.setattr(maintenance, "_SECONDS", 3600.0)
    site = Site(tmp_path, SqliteStore(tmp_path / "store.db", kinds=KINDS), KINDS)
    await site.store.open()
    yield site
    await site.close()
    await site.store.close()


def id_of(answer: list[Appended] | str) -> int:
    assert isinstance(answer, list)
    return answer[0].id


def as_it_was(_path: Path) -> None:
    """Put a file back without a word."""


@pytest.mark.parametrize("restore", [begin_restored_epoch, as_it_was])
async def test_who_joined_and_left_after_a_backup_of_the_log_did_so(
    site: Site, restore: Callable[[Path], None]
) -> None:
    group = await site.open("log")
    await group.join("alice")
    await group.join("bob")
    await site.store_all()
    site.copy("backup")
    await group.leave("bob")
    await group.join("carol")
    await site.store_all()
    await site.close()
    restore(site.folder / "backup" / "log.db")
    group = await site.open("backup")
    await site.store_all()
    assert await group.join("carol") == "member"
    assert await group.leave("bob") == "no member"
    channel = site.log.state.channel(GROUP)
    assert channel is not None
    assert channel.count == 2


async def test_who_joined_before_and_after_a_backup_leaves_once(site: Site) -> None:
    """The log was put back to before the join, and took another while the store was away."""
    group = await site.open("log")
    await group.join("alice")
    await site.store_all()
    site.copy("backup")
    await group.join("bob")
    await site.store_all()
    group = await site.open("backup", met=False)
    await group.join("bob")
    await site.store_all()
    first, second = await site.store.intervals("bob", GROUP)
    assert first.last < second.first
    await group.leave("bob")
    await site.store_all()
    assert [one.last < MAX_ID for one in await site.store.intervals("bob", GROUP)] == [True, True]
    # What the log made of it is in the store: a new log has the same.
    await site.open("new")
    await site.store_all()
    channel = site.log.state.channel(GROUP)
    assert channel is not None
    assert channel.count == 1
    assert [one.last < MAX_ID for one in site.log.state.intervals("bob")] == [True, True]


async def test_who_left_stays_away_where_the_join_gets_another_id(site: Site) -> None:
    """The store has another record under the join's id; the leave keeps its own."""
    group = await site.open("log")
    await group.join("alice")
    await site.store_all()
    log = site.log
    join = await group.join("bob")
    await group.leave("bob")
    again = await group.join("carol")
    hub = Hub(Subscriptions(log.state.intervals, lambda: log.tail.head))
    fanout = Fanout(hub, SELECTION, log.acknowledgements, lambda _connection, _position: None)
    log.tail.listen(fanout.accept)
    for user in ("bob", "carol"):
        one = connection(user)
        attach(one)
        hub.add(one)
    records = {record.id: record for record in log.tail.page(Bounds(9))}
    await log.readmit([records[id_of(answer)] for answer in (join, again)])
    bob, carol = log.tail.page(Bounds(2))
    assert list(hub.subscriptions.of(GROUP)) == ["carol"]
    await site.store_all()
    (interval,) = await site.store.intervals("bob", GROUP)
    assert interval.last < MAX_ID
    assert bob.state is not None
    assert not bob.state.members[0].is_present
    assert carol.state is not None
    assert carol.state.channel == log.state.channel(GROUP) == Channel(2)


async def test_who_returned_stays_where_the_leave_gets_another_id(site: Site) -> None:
    group = await site.open("log")
    await group.join("bob")
    log = site.log
    hub = Hub(Subscriptions(log.state.intervals, lambda: log.tail.head))
    fanout = Fanout(hub, SELECTION, log.acknowledgements, lambda _connection, _position: None)
    log.tail.listen(fanout.accept)
    await group.leave("bob")
    leave = log.tail.page(Bounds(1))
    await group.join("bob")
    one = connection("bob")
    attach(one)
    hub.add(one)
    await log.readmit(leave)
    assert list(hub.subscriptions.of(GROUP)) == ["bob"]
    channel = log.state.channel(GROUP)
    assert channel is not None
    assert channel.count == 1


def damage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE channels SET crc = crc + 1")


def verify_log(site: Site, *options: str) -> subprocess.CompletedProcess[str]:
    return command(site.folder, "log", "verify", "--data-dir", str(site.folder / "log"), *options)


async def test_a_damaged_row_is_read_from_the_store(site: Site) -> None:
    group = await site.open("log")
    await group.join("alice")
    await site.store_all()
    await group.join("bob")
    await site.close()
    damage(site.folder / "log" / "log.db")
    found = await asyncio.to_thread(verify_log, site)
    assert found.returncode == 1
    assert "--quarantine lets the next start read" in found.stdout
    assert (await asyncio.to_thread(verify_log, site, "--quarantine")).returncode == 0
    group = await site.open("log")
    await site.store_all()
    assert site.log.state.channel(GROUP) == Channel(2)
    assert await group.join("bob") == "member"


async def test_a_damaged_row_stays_while_the_store_lacks_what_the_log_has(
    site: Site,
) -> None:
    group = await site.open("log")
    await group.join("alice")
    await site.log.attach_store(StoreState("another", None, 0))
    await site.close()
    damage(site.folder / "log" / "log.db")
    assert (await asyncio.to_thread(verify_log, site, "--quarantine")).returncode == 1
