"""Filters and merged requests of a local log, as history and retries see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from chatsvc.core.errors import Conflict, LogUnavailable
from chatsvc.core.ids import STEP, id_at, now_ms
from chatsvc.core.membership import BLOCK, Filter
from chatsvc.core.page import Bounds
from chatsvc.core.record import accept
from chatsvc.core.state_rows import FilterRow
from chatsvc.log.local.log import LocalLog
from chatsvc.log.reconcile import StoreState
from chatsvc.storage.history.history import History
from chatsvc.storage.history.repeats import Repeats
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.memberships import StoredMemberships
from testkit.client_ids import uuid7_at
from testkit.group_drafts import Group, filtering, group_key, wish_to_join
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, draft
from tests.contract.log_state_exchange_suite import adopt, ahead_of
from tests.contract.log_suite import EMPTY


async def opened(folder: Path, store: StoreState | None) -> LocalLog:
    return await LocalLog.open(
        folder,
        recent_bytes=1 << 20,
        backlog_bytes=1 << 30,
        idempotency_ms=600_000,
        idempotency_keys=1_000_000,
        retention_ms=86_400_000,
        store=store,
    )


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[LocalLog]:
    made = await opened(tmp_path / "data", EMPTY)
    yield made
    await made.close()


async def test_a_new_log_shows_nothing_of_a_store_that_it_has_not_met(tmp_path: Path) -> None:
    """The log was lost and the store away at the start; it is open, and not attached yet."""
    store = MemoryStore(kinds=KINDS)
    hidden = accept(draft("hidden"), id_at(1_600_000_000_000))
    store.records[hidden.id] = hidden
    await store.put_state([FilterRow(Filter("bob", BLOCK, "alice", 1), 1)])
    log = await opened(tmp_path / "data", None)
    try:
        access = StoreAccess(0.0, 3)
        memberships = StoredMemberships(log.state, log.tail, store, access)
        history = History(store, log.tail, kinds=KINDS, memberships=memberships, access=access)
        with pytest.raises(LogUnavailable) as raised:  # pages of single sets alone go on
            await history.user_page("bob", Bounds(5))
        assert raised.value.code == "adopting"
    finally:
        await log.close()


async def test_each_of_two_requests_under_one_client_id_has_its_own_answer(log: LocalLog) -> None:
    """They wait together, and have another content: the second is a conflict, as it is alone."""
    store = MemoryStore()
    access = StoreAccess(0.0, 3)
    memberships = StoredMemberships(log.state, log.tail, store, access)
    history = History(store, log.tail, memberships=memberships, access=access)
    repeats = Repeats(log, history, history.records)
    group = Group(log, repeats=repeats)
    wish = wish_to_join("bob", uuid7_at(now_ms()))
    other = msgspec.structs.replace(wish, digest=b"another content")
    key = group_key()
    decided = [group.merging.decide(key, "join", one, group._join_all) for one in (wish, other)]
    first, second = await asyncio.gather(*decided, return_exceptions=True)
    assert isinstance(first, list)
    retry = await repeats.find(wish)
    assert retry is not None
    assert (retry.id, retry.body) == (first[0].id, first[0].body)
    assert isinstance(second, Conflict)


@pytest.mark.parametrize("later", [False, True])
async def test_a_block_of_both_pasts_is_one(log: LocalLog, later: bool) -> None:
    """As of memberships: one end that follows would otherwise end only one of them."""
    mine = (await log.append(filtering(BLOCK, "alice"))).id
    store = ahead_of(log)
    theirs = store.extent - STEP if later else STEP
    await log.attach_store(store)
    await adopt(log, [FilterRow(Filter("bob", BLOCK, "alice", theirs), theirs)])
    first, second = sorted((mine, theirs))
    assert sorted(log.state.filters("bob").rows, key=lambda one: one.since) == [
        Filter("bob", BLOCK, "alice", first, second),
        Filter("bob", BLOCK, "alice", second),
    ]
