"""Pages of members from the log's file: what is damaged, how they are found, files without it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chatsvc.core.errors import LogUnavailable
from chatsvc.core.membership import Member
from chatsvc.core.record import Draft, accept
from chatsvc.log.local import opening
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.state_reader import LocalState
from chatsvc.log.local.state_tables import MEMBERS_AFTER
from chatsvc.log.local.verify import verify
from chatsvc.log.state import MemberPage
from testkit.group_drafts import GROUP, joining, leaving
from tests.contract.log_suite import EMPTY

FIRST = (0, "")


@pytest.fixture
def state(empty: LogFile) -> Iterator[LocalState]:
    made = LocalState(empty.path, is_empty=False)
    yield made
    made.close()


def insert(file: LogFile, number: int, *drafts: Draft) -> None:
    file.insert_changing([accept(one, number + at) for at, one in enumerate(drafts)])


def indexes(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT name FROM sqlite_master WHERE type='index' AND sql IS NOT NULL")
        return {row[0] for row in found}


def test_a_damaged_row_refuses_the_page_that_it_is_on(empty: LogFile, state: LocalState) -> None:
    insert(empty, 10, joining("alice"), joining("bob"), joining("carol"))
    empty._db.execute("UPDATE members SET data = CAST(data || x'00' AS BLOB) WHERE user='bob'")
    assert state.members_page(GROUP, FIRST, 1) == MemberPage(
        [Member("alice", 10, visible_from=10)], (10, "alice")
    )
    for after, limit in ((FIRST, 2), ((10, "alice"), 1)):
        with pytest.raises(LogUnavailable, match="the log's state is damaged") as raised:
            state.members_page(GROUP, after, limit)
        assert raised.value.retry_after == 60.0
    assert [one.user for one in state.members_page(GROUP, (11, "bob"), 9).members] == ["carol"]


@pytest.mark.parametrize(
    "change",
    ["UPDATE members SET joined = 9", "UPDATE members SET user = 'eve'",
     "UPDATE members SET rev = rev + 1", "UPDATE channels SET rev = rev + 1"],
)  # fmt: skip
def test_a_row_that_was_moved_is_damaged(empty: LogFile, state: LocalState, change: str) -> None:
    insert(empty, 10, joining("alice"))
    empty._db.execute(change)
    with pytest.raises(LogUnavailable, match="the log's state is damaged"):
        state.members_page(GROUP, FIRST, 10)


def test_a_damaged_row_of_a_channel_is_not_told(empty: LogFile, state: LocalState) -> None:
    insert(empty, 10, joining("alice"))
    empty._db.execute("UPDATE channels SET rev = 99")
    with pytest.raises(LogUnavailable, match="the log's state is damaged"):
        state.channel_row(GROUP)


READS: dict[str, Callable[[LocalState], object]] = {
    "a row": lambda state: state.channel_row(GROUP),
    "a page": lambda state: state.members_page(GROUP, FIRST, 10),
}


@pytest.mark.parametrize("read", READS)
async def test_while_rows_are_adopted_or_cannot_be_read_nothing_is_told(
    empty: LogFile, read: str
) -> None:
    state = LocalState(empty.path, is_empty=False, is_adopting=True)
    told: list[str] = []

    async def listener() -> None:
        with pytest.raises(LogUnavailable) as raised:
            READS[read](state)
        told.append(raised.value.code)

    await listener()
    state.on_adopted(listener)
    await state.adopted(is_empty=False)
    assert told == ["adopting", "adopting"], "and until all have heard of it"
    assert READS[read](state) in (None, MemberPage([], None))
    state.close()
    with pytest.raises(LogUnavailable, match="the log's state cannot be read"):
        READS[read](state)


def test_nothing_is_asked_of_a_file_without_state(empty: LogFile) -> None:
    state = LocalState(empty.path, is_empty=True)
    state.close()
    assert READS["a row"](state) is None, "the connection is closed and was not used"
    assert READS["a page"](state) == MemberPage([], None)


def test_a_membership_that_was_dropped_is_not_looked_at(empty: LogFile, state: LocalState) -> None:
    insert(empty, 10, joining("alice", "bob"))
    insert(empty, 20, leaving(Member("alice", 10)))
    assert state.members_page(GROUP, FIRST, 1) == MemberPage([], (10, "alice"))
    assert empty.drop_ended(20, 100) == 1
    assert [one.user for one in state.members_page(GROUP, FIRST, 1).members] == ["bob"]


def test_a_page_is_one_range_of_an_index_and_nothing_is_sorted(empty: LogFile) -> None:
    plan = empty._db.execute(f"EXPLAIN QUERY PLAN {MEMBERS_AFTER}", (GROUP, 1, "", 10)).fetchall()
    assert [row[3] for row in plan] == [
        "SEARCH members USING INDEX member_order (channel=? AND (joined,user)>(?,?))"
    ]


async def opened(folder: Path) -> LocalLog:
    return await LocalLog.open(
        folder,
        recent_bytes=1 << 20,
        backlog_bytes=1 << 30,
        idempotency_ms=600_000,
        idempotency_keys=1000,
        retention_ms=600_000,
        store=EMPTY,
    )


async def test_a_file_of_this_version_without_the_index_gets_it_from_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"
    log = await opened(tmp_path)
    await log.append(joining("alice", "bob"))
    await log.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP INDEX member_order")
    assert verify(path).good
    assert indexes(path) == {"member_droppable"}, "to look it over changes nothing"
    with monkeypatch.context() as patch:
        patch.setattr(opening, "positions_at_start", _broken)
        with pytest.raises(RuntimeError):
            await opened(tmp_path)
    assert indexes(path) == {"member_droppable", "member_order"}
    log = await opened(tmp_path)
    try:
        page = log.state.members_page(GROUP, FIRST, 10)
        assert [one.user for one in page.members] == ["alice", "bob"]
    finally:
        await log.close()
    assert verify(path).good


def _broken(*_: object) -> None:
    raise RuntimeError


def test_an_index_that_is_there_is_not_written_again(empty: LogFile) -> None:
    with closing(sqlite3.connect(empty.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        empty.never_wait()
        empty.index_members()
        other.execute("DROP INDEX member_order")
        other.execute("COMMIT")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogUnavailable) as raised:
            empty.index_members()
        assert raised.value.code == "log_busy"
    assert not empty._db.in_transaction
