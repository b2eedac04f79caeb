"""The log's own state handed between log and store, in pages, and begun again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.membership import Interval, Member
from chatsvc.core.state_rows import MemberRow, StatePage, StateRow
from chatsvc.log.state import StateDue
from chatsvc.storage.state_exchange import ROWS_AT_ONCE, settle_state
from tests.unit.support.fake_state import FakeExchange

ROWS: list[StateRow] = [
    MemberRow(",g:team", Member(f"user {at}", 1), 1) for at in range(2 * ROWS_AT_ONCE + 1)
]


class Store:
    """Rows; ``fails_at``: the call that fails."""

    def __init__(self, rows: Sequence[StateRow] = ()) -> None:
        self.rows = list(rows)
        self.calls = 0
        self.fails_at = 0

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise StoreUnavailable("away")

    async def intervals(self, user: str, channel: str) -> list[Interval]:
        raise NotImplementedError

    async def state_page(self, after: str, limit: int) -> StatePage:
        self._call()
        start = int(after or "0")
        end = start + limit
        return StatePage(self.rows[start:end], str(end) if end < len(self.rows) else "")

    async def put_state(self, rows: Sequence[StateRow]) -> None:
        self._call()
        self.rows += rows


async def test_what_is_not_due_is_not_done() -> None:
    log, store = FakeExchange(), Store(ROWS)
    await settle_state(log, store)
    assert (log.done, store.calls) == ([], 0)


async def test_the_log_takes_all_rows_of_the_store() -> None:
    log = FakeExchange(StateDue.ADOPTION)
    log.rows = ROWS[:1]
    await settle_state(log, Store(ROWS))
    assert log.rows == ROWS
    assert log.done == ["begin", *[f"adopt {ROWS_AT_ONCE}"] * 2, "adopt 1", "end"]


async def test_a_store_without_rows_is_adopted_too() -> None:
    log = FakeExchange(StateDue.ADOPTION)
    log.rows = ROWS[:1]
    await settle_state(log, Store())
    assert (log.rows, log.done) == ([], ["begin", "end"])


async def test_the_store_gets_all_rows_of_the_log() -> None:
    log, store = FakeExchange(StateDue.REWRITING), Store()
    log.rows = list(ROWS)
    await settle_state(log, store)
    assert store.rows == ROWS
    assert (log.done, store.calls) == (["rewritten"], 3)


async def test_a_log_without_rows_asks_nothing_of_the_store() -> None:
    log, store = FakeExchange(StateDue.REWRITING), Store()
    await settle_state(log, store)
    assert (log.done, store.calls) == (["rewritten"], 0)


@pytest.mark.parametrize("due", [StateDue.ADOPTION, StateDue.REWRITING])
@pytest.mark.parametrize("fails_at", [1, 2, 3])
async def test_what_was_broken_off_is_begun_again(due: StateDue, fails_at: int) -> None:
    log, store = FakeExchange(due), Store()
    (store if due is StateDue.ADOPTION else log).rows = list(ROWS)
    store.fails_at = fails_at
    with pytest.raises(StoreUnavailable):
        await settle_state(log, store)
    assert log.due is due
    if due is StateDue.REWRITING:
        store.rows.clear()  # it takes each of them twice
    await settle_state(log, store)
    assert log.rows == store.rows == ROWS
    assert log.due is StateDue.NOTHING
