"""Records by user: a list of their own for few, the conversation's for many."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.audience import INBOX_PARTICIPANTS, is_large, places
from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import Bounds, take
from chatsvc.core.record import Record
from chatsvc.log.record_list import RecordList, merged_page
from chatsvc.log.tail import Tail
from chatsvc.log.user_lists import NOTE_BYTES, UserLists
from testkit.drafts import record

FEW = ("b", "c", "d")
MANY = ("b", "c", "d", "e")
MORE = ("c", "d", "e", "f", "g")


def test_the_bound_of_a_small_audience() -> None:
    assert not is_large(("a", *FEW))
    assert is_large(("a", *MANY))
    assert len(("a", *FEW)) == INBOX_PARTICIPANTS
    assert places(("a", *FEW)) == 5
    assert places(("a", *MANY)) == 1


def test_a_further_record_to_many_costs_the_same_whatever_their_number() -> None:
    def further(people: int) -> int:
        tail = Tail(recent_bytes=0)
        to = tuple(f"user{n:04}" for n in range(people))
        tail.extend([record(1, to=to)])
        before = tail.unsaved_bytes
        body = len(record(2, to=to).body)
        tail.extend([record(2, to=to)])
        return tail.unsaved_bytes - before - body

    assert further(10) == further(250)
    assert further(2) < further(3), "while few have an entry each"


def test_users_who_have_nothing_left_are_forgotten() -> None:
    tail = Tail(recent_bytes=0)
    tail.extend([record(1, to=MANY), record(2, to=MORE), record(3, to=MANY)])
    tail.advance(2)
    assert {user for user in ("alice", *"bcdefg") if user in tail._users} == {
        "alice",
        "b",
        "c",
        "d",
        "e",
    }
    tail.advance(3)
    assert {user for user in ("alice", *"bcdefg") if user in tail._users} == set()
    assert tail.unsaved_bytes == tail.recent_bytes == 0


@pytest.mark.parametrize("newest", [True, False])
def test_in_a_conversation_whose_audience_changed_each_reads_their_own(newest: bool) -> None:
    tail = Tail(recent_bytes=1 << 20)
    first = record(1, to=MORE)
    joined = msgspec.structs.replace(record(2, to=MORE), audience=("alice", "c", "d", "e", "h"))
    tail.extend([first, joined, record(3, to=MANY)])
    everything = Bounds(10, newest=newest)

    def read(user: str, bounds: Bounds = everything) -> list[int]:
        return [one.id for one in tail.user_page(user, bounds)]

    assert read("alice") == [1, 2, 3]
    assert read("c") == [1, 2, 3]
    assert read("f") == [1], "left before the second"
    assert read("h") == [2], "came with the second"
    assert read("f", everything._replace(limit=1)) == [1]
    tail.drop(1)
    assert read("f") == []
    tail.advance(3)
    tail.drop(2)
    tail.drop(3)
    assert tail.recent_bytes == 0
    assert "f" not in tail._users
    assert "h" not in tail._users


def test_what_a_dropped_record_began_is_counted_as_long_as_it_is_there() -> None:
    tail = Tail(recent_bytes=1 << 20)
    second = record(2, to=("alice", *MANY[1:]), sender="b")
    tail.extend([record(1, to=MANY), second, record(3, to=FEW)])
    before = tail.unsaved_bytes
    tail.drop(1)
    assert tail.unsaved_bytes == tail.backlog.total == before - record(1, to=MANY).cost
    assert tail.backlog.held_by("b") > second.cost + len(MANY) * NOTE_BYTES
    tail.drop(2)
    fresh = Tail(recent_bytes=0)
    fresh.extend([record(3, to=FEW)])
    assert tail.unsaved_bytes == tail.backlog.total == fresh.unsaved_bytes
    tail.drop(3)
    assert tail.unsaved_bytes == tail.backlog.total == tail.recent_bytes == 0


def listed(ids: list[int]) -> RecordList:
    one = RecordList()
    one.items = [record(number, "x" * (number % 7 + 1), to=MANY) for number in ids]
    return one


def cut(found: list[Record], bounds: Bounds) -> list[Record]:
    inside = [one for one in found if bounds.after < one.id < bounds.before]
    if bounds.newest:
        inside.reverse()
    page = take(inside[: bounds.limit], lambda one: len(one.body), bounds.max_bytes)
    return page[::-1] if bounds.newest else page


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.integers(0, 45),
    st.integers(1, 50) | st.just(MAX_ID),
    st.integers(1, 12),
    st.booleans(),
    st.integers(1, 3000),
)
def test_a_merged_page_is_that_of_one_list(
    owners: list[int], after: int, before: int, limit: int, newest: bool, most: int
) -> None:
    lists = [listed([at for at, own in enumerate(owners, 1) if own == n]) for n in range(6)]
    everything = sorted((one for each in lists for one in each.items), key=lambda one: one.id)
    bounds = Bounds(limit, after, before, newest, most)
    assert merged_page("a", lists, bounds) == cut(everything, bounds)


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_list_of_which_not_all_is_the_users_is_looked_through(newest: bool, limit: int) -> None:
    ends = [record(one, to=MORE) for one in (1, 9)]
    mixed = RecordList()
    mixed.items = [ends[0], record(5, to=("a",)), ends[1]]
    mixed.mixed = True
    lists = [mixed, listed([2]), listed([3]), listed([7]), listed([8])]
    page = merged_page("a", lists, Bounds(limit, newest=newest))
    everything = [2, 3, 5, 7, 8]
    assert [one.id for one in page] == (everything[-limit:] if newest else everything[:limit])


def test_letting_go_of_a_conversation_costs_no_look_at_the_others() -> None:
    looked = 0

    class Counting(RecordList):
        def __eq__(self, other: object) -> bool:
            nonlocal looked
            looked += 1
            return self is other

        __hash__ = RecordList.__hash__

    lists = UserLists()
    conversations = [Counting() for _ in range(1000)]
    for one in conversations:
        lists.note(one, MANY)
    order = random.Random(1).sample(conversations, len(conversations))
    for one in order[:-1]:
        lists.forget(one)
    assert looked == 0
    assert all(lists._noted[user] == [order[-1]] for user in MANY)
    lists.forget(order[-1])
    assert not any(user in lists for user in MANY)
