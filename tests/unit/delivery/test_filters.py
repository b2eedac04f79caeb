"""Connections do not receive what their user's filters hide, live or replayed."""

from __future__ import annotations

import pytest

from chatsvc.core.filters import Filters
from chatsvc.core.kinds import Kind, Kinds
from chatsvc.core.membership import BLOCK, LEFT, Filter, Member
from chatsvc.core.message import MESSAGE
from chatsvc.core.record import Record
from chatsvc.delivery.selection import Selection
from chatsvc.delivery.subscriptions import Subscriptions
from testkit.groups import group_change
from testkit.records import START, change, record
from tests.unit.support.fanning_out import Harness, got
from tests.unit.support.resuming import Resumption, shown

KINDS = Kinds([MESSAGE, Kind(name="edit"), Kind(name="member", blockable=False)])


class World(Harness):
    """A fan-out by the filters of connected users; ``rows`` are the log's."""

    def __init__(self) -> None:
        self.filters: dict[str, Filters] = {}
        super().__init__(Selection(KINDS, self.filters))
        self.rows: dict[str, Filters] = {}
        self.asked: list[str] = []
        self.hub.subscriptions = Subscriptions(filters_of=self._filters_of)
        self.hub.subscriptions.filters = self.filters

    def _filters_of(self, user: str) -> Filters:
        self.asked.append(user)
        return self.rows.get(user, Filters())


@pytest.fixture
async def world() -> World:
    return World()


def blocked(since: int = 0, until: int = 0, *, user: str = "bob") -> Filters:
    return Filters([Filter(user, BLOCK, "alice", since, until)])


def setting(number: int, row: Filter) -> Record:
    return group_change(
        number, channel=f",u:{row.user}", to=(row.user,), sender=row.user, filters=[row]
    )


async def test_what_a_blocked_sender_writes_is_not_delivered(world: World) -> None:
    world.rows["bob"] = blocked()
    bob, carol = world.join("bob"), world.join("carol")
    everybody = ("alice", "bob", "carol")
    sent = [
        record(1, to=everybody),
        record(2, to=everybody, sender="carol"),
        change(3, "edit", to=everybody),
    ]
    await world.send(*sent)
    assert got(bob) == [sent[1].id]
    assert got(carol) == [sent[0].id, sent[2].id]
    assert world.delivered == 3


async def test_a_set_that_was_left_is_not_delivered(world: World) -> None:
    world.rows["bob"] = Filters([Filter("bob", LEFT, "alice,bob", record(2).id, record(4).id)])
    bob = world.join("bob")
    sent = [record(number) for number in range(1, 6)]
    other = record(3, to=("bob", "carol"), sender="carol")
    await world.send(*sent[:3], other, *sent[3:])
    assert sorted(got(bob)) == sorted([sent[0].id, other.id, sent[3].id, sent[4].id])


async def test_a_block_holds_from_its_record_on(world: World) -> None:
    bob = world.join("bob")
    since = record(2).id
    block = setting(2, Filter("bob", BLOCK, "alice", since))
    end = setting(5, Filter("bob", BLOCK, "alice", since, record(5).id))
    sent = [record(number) for number in (1, 3, 4, 6)]
    await world.send(sent[0], block, sent[1])
    await world.send(sent[2], end, sent[3])
    assert got(bob) == [sent[0].id, block.id, end.id, sent[3].id]


async def test_a_change_of_members_reaches_who_blocked_its_sender(world: World) -> None:
    world.rows["bob"] = blocked()
    bob = world.join("bob")
    members = [Member("alice", START), Member("bob", START)]
    join = group_change(1, kind="member", sender="alice", members=members)
    await world.send(join)
    assert got(bob) == [join.id]


async def test_filters_are_read_once_a_user_and_forgotten_with_the_last(world: World) -> None:
    world.rows["bob"] = blocked()
    one = world.join("bob")
    other = world.join("bob")
    assert (world.asked, set(world.filters)) == (["bob"], {"bob"})
    world.hub.discard(one.connection)
    assert set(world.filters) == {"bob"}
    world.hub.discard(other.connection)
    assert world.filters == {}


async def test_rows_of_who_is_not_here_are_not_followed(world: World) -> None:
    await world.send(setting(1, Filter("bob", BLOCK, "alice", 0)))
    assert world.filters == {}


async def test_a_read_anew_takes_what_the_state_has(world: World) -> None:
    world.rows["bob"] = blocked()
    world.join("bob")
    world.join("carol")
    world.rows = {"carol": blocked(user="carol")}
    await world.hub.resubscribe()
    assert set(world.filters) == {"carol"}


@pytest.mark.parametrize("recent_bytes", [0, 1 << 30], ids=["store", "tail"])
async def test_a_resume_does_not_replay_what_is_hidden(recent_bytes: int) -> None:
    filters = {"bob": blocked(record(2).id, record(4).id)}
    harness = Resumption(recent_bytes=recent_bytes, selection=Selection(KINDS, filters))
    sent = [record(number) for number in range(1, 6)]
    harness.accept(*sent)
    plan, bob = await harness.resume(harness.cursor(START))
    assert plan.recovered
    assert shown(bob)[:-1] == [sent[0].id, sent[3].id, sent[4].id]


async def test_what_is_hidden_is_not_counted_as_missed() -> None:
    """A blocked sender cannot bring the reader a gap: history counts what is shown."""
    filters = {"bob": blocked()}
    harness = Resumption(recent_bytes=1 << 30, max_messages=3, selection=Selection(KINDS, filters))
    harness.accept(*(record(number) for number in range(1, 10)))
    plan, bob = await harness.resume(harness.cursor(START))
    assert (plan.recovered, harness.store.calls) == (True, ["count shown"])
    assert [one[0] for one in shown(bob)] == ["caught_up"]
