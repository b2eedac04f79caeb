"""Who is here of a group: read with the first connection, followed by the records."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.errors import LogUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import THIS_RECORD, Channel, Interval, Member
from chatsvc.core.record import Draft, Record, accept
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.subscriptions import Subscriptions
from chatsvc.log.state import adopting
from testkit.group_drafts import GROUP, joining, leaving, member_change, said
from tests.unit.support.fanning_out import Harness, got
from tests.unit.support.sockets import attach, connection


class State:
    """The log's state as a list of intervals; ``head`` is what was delivered."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Interval]] = {}
        self.head = 1
        self.asked: list[str] = []

    def intervals(self, user: str) -> Sequence[Interval]:
        self.asked.append(user)
        return self.rows.get(user, [])


class World(Harness):
    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.hub.subscriptions = Subscriptions(self.state.intervals, lambda: self.state.head)

    def member(self, user: str, first: int, last: int = MAX_ID) -> None:
        self.state.rows.setdefault(user, []).append(Interval(GROUP, first, last, first))


@pytest.fixture
async def world() -> World:
    return World()


def at(number: int, one: Draft) -> Record:
    return accept(one, number)


async def test_members_who_are_here_receive_what_is_for_the_members(world: World) -> None:
    world.member("alice", 1)
    world.member("bob", 1)
    alice, bob, carol = world.join("alice"), world.join("bob"), world.join("carol")
    await world.send(at(2, said("hello")), at(3, said("there")))
    assert [got(one) for one in (alice, bob, carol)] == [[], [2, 3], []]


async def test_the_state_is_asked_once_a_user(world: World) -> None:
    one, other = connection("bob"), connection("bob")
    for each in (one, other):
        attach(each)
        world.hub.add(each)
    assert world.state.asked == ["bob"]
    world.hub.discard(one)
    world.hub.discard(other)
    world.hub.add(one)
    assert world.state.asked == ["bob", "bob"]


async def test_a_join_is_for_the_members_before_and_after_it(world: World) -> None:
    world.member("alice", 1)
    alice, bob = world.join("alice"), world.join("bob")
    await world.send(
        at(2, said("before", sender="x")), at(3, joining("bob")), at(4, said("after", sender="x"))
    )
    assert [got(alice), got(bob)] == [[2, 3, 4], [3, 4]]


async def test_a_leave_is_for_who_leaves_and_nothing_after_it(world: World) -> None:
    world.member("alice", 1)
    world.member("bob", 1)
    alice, bob = world.join("alice"), world.join("bob")
    await world.send(
        at(2, said("before", sender="x")),
        at(3, leaving(Member("bob", 1))),
        at(4, said("after", sender="x")),
    )
    assert [got(alice), got(bob)] == [[2, 3, 4], [2, 3]]
    await world.send(at(5, joining("bob")), at(6, said("again", sender="x")))
    assert got(bob) == [2, 3, 5, 6]


async def test_who_leaves_is_cut_too_where_delivery_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.member("alice", 1)
    world.member("bob", 1)
    alice, bob = world.join("alice"), world.join("bob")

    def fails(*_: object) -> None:
        raise RuntimeError("a test says so")

    monkeypatch.setattr(world.fanout, "_extend", fails)
    await world.send(at(2, leaving(Member("bob", 1))))
    assert alice.is_closing()
    assert bob.is_closing()


async def test_a_record_that_names_people_is_for_them_alone(world: World) -> None:
    for user in ("alice", "bob", "carol"):
        world.member(user, 1)
    alice, bob, carol = world.join("alice"), world.join("bob"), world.join("carol")
    gone = member_change(Member("bob", 1, THIS_RECORD), audience=("alice", "bob"))
    await world.send(at(2, gone), at(3, said("after", sender="x")))
    assert [got(one) for one in (alice, bob, carol)] == [[2, 3], [2], [3]]


async def test_the_end_of_a_channel_is_its_last_record(world: World) -> None:
    world.member("bob", 1)
    bob = world.join("bob")
    ended = member_change(state=Channel(dissolved=THIS_RECORD))
    await world.send(at(2, ended), at(3, said("after")))
    assert got(bob) == [2]
    await world.send(at(4, joining("bob")))
    assert got(bob) == [2, 4]


async def test_who_has_no_connection_is_not_followed(world: World) -> None:
    await world.send(at(2, joining("bob")))
    assert list(world.hub.subscriptions.of(GROUP)) == []
    one = connection("bob")
    world.member("bob", 2)
    world.state.head = 2
    world.hub.add(one)
    assert list(world.hub.subscriptions.of(GROUP)) == ["bob"]
    world.hub.discard(one)
    assert list(world.hub.subscriptions.of(GROUP)) == []


@pytest.mark.parametrize(("last", "received"), [(4, []), (5, []), (6, [6]), (MAX_ID, [6, 7])])
async def test_rows_may_be_ahead_of_what_was_delivered(
    world: World, last: int, received: list[int]
) -> None:
    """The commit is durable, and its records come next: the leave at 6 among them."""
    world.state.head = 5
    world.member("bob", 1, last)
    bob = world.join("bob")
    sixth = leaving(Member("bob", 1)) if last == 6 else said("x")
    await world.send(at(6, sixth), at(7, said("y")))
    assert got(bob) == received


async def test_a_join_that_was_read_ahead_is_delivered_once(world: World) -> None:
    world.state.head = 5
    world.member("bob", 6)
    bob = world.join("bob")
    await world.send(at(6, joining("bob")), at(7, said("x")))
    assert got(bob) == [6, 7]


async def test_a_connection_whose_channels_cannot_be_read_is_cut() -> None:
    def fails(_user: str) -> Sequence[Interval]:
        raise LogUnavailable("away")

    hub = Hub(Subscriptions(fails))
    one = connection("bob")
    transport = attach(one)
    hub.add(one)
    assert (hub.size, one.live, transport.is_closing()) == (0, False, True)
    hub.subscriptions = Subscriptions()
    other = connection("bob")
    attach(other)
    hub.add(other)
    assert hub.size == 1


async def test_users_who_came_while_the_state_was_adopted_are_subscribed_after_it() -> None:
    rows: dict[str, list[Interval]] = {}
    is_adopting = True

    def intervals(user: str) -> Sequence[Interval]:
        if is_adopting:
            raise adopting()
        return rows.get(user, [])

    world = Harness()
    world.hub.subscriptions = Subscriptions(intervals, lambda: 1)
    users = [f"user {at}" for at in range(250)]
    transports = {user: world.join(user) for user in users}
    assert world.hub.size == 250
    assert not any(one.is_closing() for one in transports.values())
    is_adopting = False
    rows = {user: [Interval(GROUP, 1, MAX_ID, 1)] for user in users}
    following = asyncio.create_task(world.hub.resubscribe())
    await asyncio.sleep(0)  # a step of the loop
    assert len(world.hub.subscriptions.of(GROUP)) == 100, "some at a time"
    await following
    assert len(world.hub.subscriptions.of(GROUP)) == 250
    rows = {}
    await world.hub.resubscribe()
    assert not world.hub.subscriptions.of(GROUP)


async def test_who_left_while_all_are_subscribed_anew_is_left_alone() -> None:
    world = Harness()
    ones = [connection(f"user {at}") for at in range(150)]
    transports = [attach(one) for one in ones]
    for one in ones:
        world.hub.add(one)
    asked: list[str] = []

    def intervals(user: str) -> Sequence[Interval]:
        asked.append(user)
        if user == "user 149":
            raise LogUnavailable("away")
        return [Interval(GROUP, 1, MAX_ID, 1)]

    world.hub.subscriptions = Subscriptions(intervals, lambda: 1)
    following = asyncio.create_task(world.hub.resubscribe())
    await asyncio.sleep(0)  # a step of the loop
    assert len(asked) == 100
    world.hub.discard(ones[120])
    await following
    assert len(asked) == 149
    assert "user 120" not in asked
    assert len(world.hub.subscriptions.of(GROUP)) == 148
    assert transports[149].is_closing()
    assert not transports[120].is_closing()


async def test_a_join_that_was_read_ahead_brings_nothing_before_it(world: World) -> None:
    world.state.head = 5
    world.member("bob", 7)
    bob = world.join("bob")
    await world.send(
        at(6, said("before", sender="x")), at(7, joining("bob")), at(8, said("x", sender="x"))
    )
    assert got(bob) == [7, 8]


async def test_a_return_that_was_read_ahead_brings_nothing_before_it(world: World) -> None:
    world.state.head = 5
    world.member("bob", 1, 6)
    world.member("bob", 8)
    bob = world.join("bob")
    await world.send(
        at(6, leaving(Member("bob", 1))),
        at(7, said("between", sender="x")),
        at(8, joining("bob")),
    )
    assert got(bob) == [6, 8]


USERS = ["a", "b", "c"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "say", "open", "close"]), st.sampled_from(USERS)),
    max_size=40,
)


@given(STEPS, st.lists(st.booleans(), min_size=40, max_size=40))
async def test_everybody_receives_what_their_intervals_hold(
    steps: list[tuple[str, str]], settles: list[bool]
) -> None:
    """Against a plain model: records in batches of any size, connections between them."""
    world = World()
    joined: dict[str, int] = {}
    opened: dict[str, int] = {}
    expected: dict[int, list[int]] = {}
    transports, connections, batch = [], {}, list[Record]()
    for number, (what, user) in enumerate(steps, 1):
        one: Draft | None = None
        audience = set(joined)
        if what == "join" and user not in joined:
            one, joined[user] = joining(user), number
            audience.add(user)
            world.member(user, number)
        elif what == "leave" and user in joined:
            one = leaving(Member(user, joined.pop(user)))
            *others, last = world.state.rows[user]
            world.state.rows[user] = [*others, last._replace(last=number)]
        elif what == "say":
            one = said("x", sender="nobody")
        if one is not None:
            batch.append(at(number, one))
            for each in audience & set(opened):
                expected[opened[each]].append(number)
        if settles[number - 1] or what in ("open", "close"):
            await world.send(*batch)
            batch.clear()
            world.state.head = number
        if what == "open" and user not in opened:
            connections[user] = connection(user)
            transports.append(attach(connections[user]))
            world.hub.add(connections[user])
            opened[user] = len(transports) - 1
            expected[opened[user]] = []
        elif what == "close" and user in opened:
            world.hub.discard(connections[user])
            del opened[user]
    await world.send(*batch)
    assert {at: got(one) for at, one in enumerate(transports)} == expected
    here = set(joined) & set(opened)
    assert set(world.hub.subscriptions.of(GROUP)) == here
    assert set(world.hub.subscriptions._users) == here
