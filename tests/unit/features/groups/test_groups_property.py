"""Whatever many ask of a group at once: in the order of the log it goes by the rules.

Two services decide on one log, and the test lets its commits through or fails them. The records
are replayed through a reference model of the rules (``testkit/group_model.py``), which also says
what each request may have been answered.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.log.local.log import LocalLog
from testkit.group_model import GroupModel, Op
from tests.unit.support.group_world import GroupWorld, replay
from tests.unit.support.local_logs import NOTHING

CAPACITY = 4
USERS = st.sampled_from("abcdef")
NONE = st.just("")
OPS = st.one_of(
    st.builds(Op, st.sampled_from(["join", "leave", "send"]), USERS, NONE, NONE),
    st.builds(Op, st.sampled_from(["add", "kick"]), USERS, USERS, NONE),
    st.builds(Op, st.just("role"), USERS, USERS, st.sampled_from(["admin", "moderator", "member"])),
    st.builds(
        Op,
        st.just("patch"),
        USERS,
        NONE,
        st.sampled_from(["name", "avatar", "history", "open", "invite"]),
    ),
)
# Most of a run is to happen in a group that there is.
DELETE = st.builds(Op, st.just("delete"), USERS, NONE, NONE)
ASKS = st.tuples(st.one_of(OPS, OPS, OPS, OPS, OPS, OPS, OPS, DELETE), st.integers(0, 1))
DISK = st.sampled_from(["turn", "finish", "finish", "fail"])
STEPS = st.lists(st.one_of(ASKS, ASKS, DISK), max_size=60)
Steps = Sequence[tuple[Op, int] | str]


async def play(steps: Steps, others: str) -> GroupModel:
    with tempfile.TemporaryDirectory() as folder:
        log = await LocalLog.open(
            Path(folder),
            recent_bytes=1 << 20,
            backlog_bytes=1 << 30,
            idempotency_ms=600_000,
            idempotency_keys=1000,
            retention_ms=3_600_000,
            store=NOTHING,
        )
        try:
            world = GroupWorld(log, capacity=CAPACITY)
            await world.create(*others)
            for step in steps:
                if isinstance(step, str):
                    await world.step(step)
                else:
                    world.ask(*step)
            await asyncio.wait_for(world.end(), 60)
            return replay(world)
        finally:
            await log.close()


def played(*steps: tuple[Op, int] | str, others: str = "") -> GroupModel:
    return asyncio.run(play(steps, others))


@settings(max_examples=300)
@given(STEPS, st.sampled_from(["", "b", "bcd"]))
def test_any_interleaving_goes_by_the_rules(steps: Steps, others: str) -> None:
    asyncio.run(play(steps, others))


def join(user: str, service: int = 0) -> tuple[Op, int]:
    return Op("join", user), service


def test_two_requests_of_one_user_take_one_place() -> None:
    model = played(join("d"), join("d"), others="bc")
    assert list(model.members) == ["a", "b", "c", "d"]


def test_an_open_group_ends_when_the_last_member_leaves() -> None:
    model = played((Op("leave", "a"), 0), "finish", join("d"), (Op("leave", "a"), 1))
    assert model.is_deleted


@pytest.mark.parametrize("first", [0, 1])
def test_a_group_does_not_end_where_somebody_joins_meanwhile(first: int) -> None:
    """Whichever of the two is first in the log, and whoever decided without the other."""
    asks = [(Op("leave", "a"), 0), join("d", 1)]
    model = played(asks[first], asks[1 - first], "finish", others="")
    assert model.is_deleted or model.admins == ["d"]


def test_two_leave_at_once_and_who_stays_leads() -> None:
    model = played((Op("leave", "a"), 0), (Op("leave", "b"), 1), others="bc")
    assert (model.in_order(), model.admins) == (["c"], ["c"])


def test_the_last_admin_leaves_while_the_promoted_one_leaves() -> None:
    model = played(
        (Op("role", "a", "c", "moderator"), 0),
        "finish",
        (Op("leave", "a"), 0),
        (Op("leave", "c"), 1),
        others="bc",
    )
    assert (model.in_order(), model.admins, model.moderators) == (["b"], ["b"], [])


def test_an_admin_is_demoted_by_two_at_once_and_one_stays() -> None:
    model = played(
        (Op("role", "a", "b", "admin"), 0),
        "finish",
        (Op("role", "a", "b", "member"), 0),
        (Op("role", "b", "a", "member"), 1),
        others="b",
    )
    assert len(model.admins) == 1


def test_a_kick_while_sends_are_in_flight_lets_those_before_it_through() -> None:
    sends: list[tuple[Op, int] | str] = [(Op("send", "b"), 0)] * 3
    model = played(*sends, (Op("kick", "a", "b"), 1), *sends, "turn", *sends, others="b")
    assert [sender for sender, _ in model.said] == ["b"] * len(model.said)
    assert "b" not in model.members


def test_of_changes_at_once_of_several_fields_none_is_lost() -> None:
    fields = ["name", "avatar", "history", "invite"]
    asks = [(Op("patch", "a", "", field), at % 2) for at, field in enumerate(fields)]
    model = played(*asks)
    assert model.fields == {
        "name": "Club 1",
        "avatar": "2",
        "history": "from_join",
        "join": "invite",
    }


def test_memberships_that_end_while_the_group_is_deleted_leave_nobody_in_it() -> None:
    deletes, kicks = (Op("delete", "a"), 0), (Op("kick", "a", "c"), 1)
    model = played(deletes, (Op("leave", "b"), 0), kicks, others="bc")
    assert model.is_deleted


def test_sends_of_one_user_are_not_overtaken_by_later_ones() -> None:
    """The first is stale by the change of the sender's role, and decided again."""
    send = (Op("send", "b"), 0)
    role = (Op("role", "a", "b", "moderator"), 0)
    model = played(role, "turn", send, "finish", send, send, others="b")
    assert len(model.said) == 3
