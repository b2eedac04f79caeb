"""Resume over epochs of the log, and with a store that lacks something."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.page import Bounds, RecordPage
from chatsvc.delivery.resume import Plan
from chatsvc.log.reconcile import EpochEntry
from chatsvc.storage.history.pages import entry_of
from testkit.drafts import record
from tests.unit.support.resuming import Resumption, shown, turns


def epochs(*begun: int) -> tuple[EpochEntry, ...]:
    return tuple(EpochEntry(number, f"epoch{number}", at) for number, at in enumerate(begun, 1))


@pytest.mark.parametrize(
    ("since", "gap_from"),
    [
        ("epoch3.{:016x}", None),  # the present one
        ("epoch2.{:016x}", 40),  # the epoch after it began at 40
        ("epoch1.{:016x}", 20),  # and the one after this at 20 already
        ("unknown.{:016x}", 10),
    ],
)
async def test_a_cursor_of_an_earlier_epoch_is_good_up_to_where_the_next_began(
    since: str, gap_from: int | None
) -> None:
    one = Resumption(recent_bytes=1 << 20)
    one.accept(*(record(at) for at in range(1, 61)))
    one.resumer.begin_epoch(epochs(10, 20, 40))
    assert one.resumer.epoch == "epoch3"
    plan, transport = await one.resume(since.format(50))
    if gap_from is None:
        assert plan == Plan(50, True)
    else:
        assert plan == Plan(60, False, gap_from)
        assert shown(transport)[0] == ("gap", gap_from, 60)
    assert shown(transport)[-1] == ("caught_up", f"epoch3.{60:016x}")
    plan, _ = await one.resume(since.format(5))
    assert plan.gap_from == (None if gap_from is None else 5)


async def test_up_to_the_base_a_resume_asks_history() -> None:
    one = Resumption(recent_bytes=1 << 20)
    one.accept(*(record(at) for at in range(1, 11)))
    one.tail.drop(4)  # the log lacks what the store holds
    one.tail.set_store_positions(stored=10, base=6, hole=None)
    plan, transport = await one.resume(one.cursor(2))
    assert plan == Plan(2, True)
    assert shown(transport)[:-1] == [*range(3, 11)]
    one.store.calls.clear()
    plan, transport = await one.resume(one.cursor(6))
    assert shown(transport)[:-1] == [*range(7, 11)]
    assert one.store.calls == []


@pytest.mark.parametrize(("at", "told"), [(4, True), (7, True), (8, False)])
async def test_what_a_store_lacks_is_a_gap(at: int, told: bool) -> None:
    one = Resumption(recent_bytes=0)
    one.accept(*(record(at) for at in range(1, 11)))
    one.tail.advance(8)
    one.tail.set_store_positions(stored=5, base=0, hole=None)
    plan, transport = await one.resume(one.cursor(at))
    assert plan == (Plan(10, False, at) if told else Plan(at, True))
    assert (("gap", at, 10) in shown(transport)) == told


async def test_what_is_lost_for_good_is_a_gap_for_who_missed_it() -> None:
    one = Resumption(recent_bytes=0)
    one.accept(*(record(at) for at in range(1, 11)))
    one.tail.advance(8)
    one.tail.set_store_positions(stored=8, base=0, hole=(2, 4))
    for at in (2, 3):
        assert (await one.resume(one.cursor(at)))[0] == Plan(10, False, at)
    assert (await one.resume(one.cursor(4)))[0] == Plan(4, True)
    one.tail.set_store_positions(stored=8, base=0, hole=(9, 10))
    assert (await one.resume(one.cursor(9)))[0] == Plan(10, False, 9), "the newest of all"


@pytest.mark.parametrize(("complete", "lost"), [(False, None), (True, (3, 4))])
async def test_a_page_that_turns_out_to_lack_something_on_the_way_is_a_gap(
    monkeypatch: pytest.MonkeyPatch, complete: bool, lost: tuple[int, int] | None
) -> None:
    one = Resumption(recent_bytes=0)
    one.accept(*(record(at) for at in range(1, 11)))
    one.tail.advance(8)

    async def incomplete(user: str, bounds: Bounds, kinds: None) -> RecordPage:
        return RecordPage([entry_of(one.store.records[4])], 8, False, complete, lost)

    monkeypatch.setattr(one.store, "user_page", incomplete)
    plan, transport = await one.resume(one.cursor(2))
    assert plan.recovered
    assert shown(transport) == [("gap", 2, 8), 9, 10, ("caught_up", one.cursor(10))]


async def test_an_epoch_that_begins_while_a_resume_is_planned_counts() -> None:
    one = Resumption(recent_bytes=0)
    one.accept(*(record(at) for at in range(1, 6)))
    one.tail.advance(5)
    one.resumer.begin_epoch((EpochEntry(0, "e", 0),))
    one.store.gate = asyncio.Event()
    planning = asyncio.create_task(one.resumer.plan("bob", one.cursor(4)))
    await turns(3)
    assert "count" in one.store.calls
    one.resumer.begin_epoch((EpochEntry(0, "e", 0), EpochEntry(1, "f", 2)))
    one.store.gate.set()
    assert await planning == Plan(5, False, 2), "the cursor is good up to 2 only"


async def test_where_it_is_planned_again_it_is_for_the_same_user() -> None:
    one = Resumption(max_messages=2)
    one.accept(*(record(at) for at in range(1, 6)))
    one.tail.advance(5)
    one.store.gate = asyncio.Event()
    planning = [
        asyncio.create_task(one.resumer.plan(user, one.cursor(1))) for user in ("bob", "carol")
    ]
    await turns(3)
    one.tail.set_store_positions(stored=5, base=0, hole=(0, 1))
    one.store.gate.set()
    assert await asyncio.gather(*planning) == [Plan(5, False, 1), Plan(1, True)]
