"""Rows of the log's own state in its file: written with their record, checked, dropped in time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chatsvc.core.errors import LogDamaged, LogUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import THIS_RECORD, Channel, Filter, Interval, Member, StateChange
from chatsvc.core.record import Draft, Record, accept
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.state_reader import LocalState
from chatsvc.log.local.verify import verify
from chatsvc.log.state import StateDue
from testkit.drafts import draft
from testkit.group_drafts import GROUP, joining, leaving, member_change, said
from tests.unit.support.failing_sqlite import Failing, error


@pytest.fixture
def state(empty: LogFile) -> Iterator[LocalState]:
    made = LocalState(empty.path, is_empty=False)
    yield made
    made.close()


def insert(file: LogFile, number: int, *drafts: Draft) -> list[Record]:
    return file.insert_changing([accept(one, number + at) for at, one in enumerate(drafts)])


def block(since: int = THIS_RECORD) -> Draft:
    rows = StateChange(filters=(Filter("alice", "block", "bob", since),))
    return msgspec.structs.replace(draft("x"), state=rows)


def test_what_is_kept_is_the_record_with_its_count(empty: LogFile, state: LocalState) -> None:
    plain, joined = insert(empty, 10, said("before"), joining("alice", "bob"))
    assert [empty.get(10), empty.get(11)] == [plain, joined]
    assert b'"member_count":2,"channel"' in joined.body
    assert list(empty.read(0)) == [plain, joined]
    assert state.intervals("alice") == (Interval(GROUP, 11, MAX_ID, 11),)


def test_what_fails_leaves_no_row(empty: LogFile, state: LocalState) -> None:
    insert(empty, 10, joining("alice"))
    pages = empty._db.execute("PRAGMA page_count").fetchone()[0]
    empty._db.execute(f"PRAGMA max_page_count={pages + 1}")
    big = said("x" * 100_000)
    with pytest.raises(LogUnavailable) as raised:
        insert(empty, 20, joining("bob"), big)
    assert raised.value.code == "disk_full"
    assert not empty._db.in_transaction
    assert (state.member(GROUP, "bob"), state.channel(GROUP)) == (None, Channel(1))
    assert empty.head() == 10


@pytest.mark.parametrize("restricted", [{}, {"banned_until": 1}, {"muted_until": 1}])
def test_a_membership_that_ended_goes_with_the_tails_floor(
    empty: LogFile, state: LocalState, restricted: dict[str, int]
) -> None:
    insert(empty, 10, joining("alice", "bob"))
    bob = Member("bob", 10, THIS_RECORD, **restricted)
    insert(empty, 20, member_change(bob))
    assert empty.drop_ended(19, 100) == 0
    assert empty.drop_ended(20, 100) == (0 if restricted else 1)
    assert (state.member(GROUP, "bob") is None) == (not restricted)
    assert state.member(GROUP, "alice") is not None
    if restricted:  # until that is lifted
        insert(empty, 30, member_change(Member("bob", 10, 20)))
        assert empty.drop_ended(20, 100) == 1
    assert empty.drop_ended(20, 100) == 0


def test_what_housekeeping_cannot_read_is_said_as_what_cannot_be_written(
    empty: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in the log's thread, which any other error would end."""
    monkeypatch.setattr(empty, "_db", Failing(error(sqlite3.SQLITE_BUSY_RECOVERY)))
    for call in (empty.drop_ended, empty.trim):
        with pytest.raises(LogUnavailable):
            call(10, 10)


def test_so_many_are_dropped_at_once_and_the_oldest_first(
    empty: LogFile, state: LocalState
) -> None:
    users = [f"user {at}" for at in range(5)]
    insert(empty, 10, joining(*users))
    for at, user in enumerate(users):
        insert(empty, 20 + at, leaving(Member(user, 10)))
    assert [empty.drop_ended(22, 2), empty.drop_ended(22, 2)] == [2, 1]
    left = [user for user in users if state.member(GROUP, user) is not None]
    assert left == ["user 3", "user 4"]


def test_a_return_is_a_row_beside_the_one_that_ended(empty: LogFile, state: LocalState) -> None:
    insert(empty, 10, joining("alice"))
    insert(empty, 20, leaving(Member("alice", 10)))
    insert(empty, 30, joining("alice"))
    assert [one[1] for one in state.intervals("alice")] == [10, 30]
    assert state.member(GROUP, "alice") == Member("alice", 30, visible_from=30)
    assert empty.drop_ended(30, 100) == 1
    assert [one[1] for one in state.intervals_in("alice", GROUP)] == [30]


def test_who_only_may_not_join_has_no_interval(empty: LogFile, state: LocalState) -> None:
    insert(empty, 10, member_change(Member("eve", 0, banned_until=5)))
    assert state.intervals("eve") == ()
    assert state.member(GROUP, "eve") == Member("eve", 0, banned_until=5)
    assert state.channel(GROUP) == Channel(0)


CHANGES = {
    "members": "UPDATE members SET data = (SELECT data FROM members WHERE user='bob')",
    "channels": "UPDATE channels SET rev = rev + 1",
    "filters": "UPDATE filters SET since = since + 1",
}


@pytest.mark.parametrize("table", CHANGES)
def test_a_row_that_is_not_what_was_written_is_found(
    empty: LogFile, state: LocalState, table: str
) -> None:
    insert(empty, 10, joining("alice", "bob"), block())
    assert list(empty.bad_state()) == []
    empty._db.execute(CHANGES[table])
    (found,) = empty.bad_state()
    assert found.startswith(f"a row of {table}, ('")
    assert found.endswith("fails its checksum")
    reads = {
        "members": lambda: state.member(GROUP, "alice"),
        "channels": lambda: state.channel(GROUP),
        "filters": lambda: state.filters("alice"),
    }
    with pytest.raises(LogUnavailable, match="the log's state is damaged"):
        reads[table]()
    if table != "filters":
        with pytest.raises(LogUnavailable):
            state.intervals("alice")
        with pytest.raises(LogDamaged):
            insert(empty, 20, joining("alice"))
        assert empty.head() == 11


def test_verification_names_a_bad_row(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.db")
    insert(file, 10, joining("alice"))
    file.close()
    assert verify(tmp_path / "log.db").good
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("UPDATE members SET joined = 9")
    db.close()
    verdict = verify(tmp_path / "log.db")
    assert verdict.state == ("a row of members, ('alice', ',g:team', 9), fails its checksum",)
    assert not verdict.good


def test_nothing_is_asked_of_a_file_without_state(empty: LogFile) -> None:
    assert not empty.has_state()
    state = LocalState(empty.path, is_empty=True)
    state.close()
    assert state.member(GROUP, "alice") is None, "the connection is closed and was not used"
    state.rows_were_written(())
    with pytest.raises(LogUnavailable, match="the log's state cannot be read"):
        state.member(GROUP, "alice")
    insert(empty, 10, block())
    assert empty.has_state()


async def test_the_intervals_of_a_user_are_read_once(empty: LogFile, state: LocalState) -> None:
    joined = insert(empty, 10, joining("alice"))
    state.rows_were_written(joined)
    first = state.intervals("alice")
    assert state.intervals("alice") is first
    left = insert(empty, 20, leaving(Member("alice", 10)))
    assert state.intervals("alice") is first, "what is written is told when it is published"
    state.rows_were_written(left)
    assert state.intervals("alice") == (Interval(GROUP, 10, 20, 0),)
    state.rows_were_written(insert(empty, 30, joining("bob")))
    bob = state.intervals("bob")
    state.rows_were_written(insert(empty, 40, said("x"), block()))
    assert state.intervals("bob") is bob
    ended = member_change(state=Channel(dissolved=THIS_RECORD))
    state.rows_were_written(insert(empty, 50, ended))
    assert state.intervals("bob") == (Interval(GROUP, 30, 50, 30),)
    await state.adopted(is_empty=False)
    assert state.intervals("bob") is not bob


async def test_nothing_is_asked_of_a_file_for_which_the_store_had_no_rows(empty: LogFile) -> None:
    state = LocalState(empty.path, is_empty=False, is_adopting=True)
    await state.adopted(is_empty=True)
    state.close()
    assert state.intervals("alice") == (), "the connection is closed and was not used"


async def test_what_was_read_of_one_store_is_not_told_of_another(
    empty: LogFile, state: LocalState
) -> None:
    state.rows_were_written(insert(empty, 10, joining("alice")))
    assert state.intervals("alice")
    state.set_due(StateDue.ADOPTION)
    with pytest.raises(LogUnavailable, match="is being read from the database"):
        state.intervals("alice")


def test_the_intervals_in_one_channel_ascend(empty: LogFile, state: LocalState) -> None:
    insert(empty, 10, joining("alice"), joining("alice", channel=",g:other"))
    insert(empty, 20, leaving(Member("alice", 10)))
    insert(empty, 30, joining("alice"))
    assert [one[1:3] for one in state.intervals_in("alice", GROUP)] == [(10, 20), (30, MAX_ID)]
    assert state.intervals_in("bob", GROUP) == ()


async def test_a_membership_is_read_once(empty: LogFile, state: LocalState) -> None:
    state.rows_were_written(insert(empty, 10, joining("alice")))
    first = state.member(GROUP, "alice")
    left = insert(empty, 20, leaving(Member("alice", 10)))
    assert state.member(GROUP, "alice") is first
    state.rows_were_written(left)
    assert state.member(GROUP, "alice") == Member("alice", 10, 20)
    assert state.member(",g:other", "alice") is None
    empty.drop_state()
    await state.adopted(is_empty=False)
    assert state.member(GROUP, "alice") is None
