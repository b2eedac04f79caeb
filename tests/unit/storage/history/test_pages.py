"""Pages are put together from the store's and the tail's parts."""

from __future__ import annotations

import pytest

from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.page import Bounds, Entry, Page
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.pages import covered_by, differ, entries_of, entry_of
from testkit.records import other_kind, record
from tests.unit.support.history_worlds import at, ids


class Watched:
    """A tail of records 1 to 12 of which every third is of another kind; ``asked`` of it."""

    def __init__(self) -> None:
        self.tail = Tail(recent_bytes=1 << 30)
        self.tail.extend([record(n) if n % 3 else other_kind(n) for n in range(1, 13)])
        self.asked: list[Bounds] = []
        self.read: list[int] = []

    def page(self, bounds: Bounds) -> list[Record]:
        self.asked.append(bounds)
        records = self.tail.user_page("bob", bounds)
        self.read += [one.id for one in records]
        return records


MESSAGES = [n for n in range(1, 13) if n % 3]


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("limit", range(1, 13))
def test_messages_are_counted_without_the_other_kinds_and_none_is_read_twice(
    limit: int, newest: bool
) -> None:
    tail = Watched()
    found = ids(entries_of(tail.page, MESSAGES_ONLY.counts, Bounds(limit, newest=newest)))
    assert found == at(*(MESSAGES[-limit:] if newest else MESSAGES[:limit]))
    assert len(tail.read) == len(set(tail.read))


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("most", [0, 300, 700, 10_000])
def test_a_page_among_other_kinds_ends_where_one_of_messages_alone_would(
    newest: bool, most: int
) -> None:
    bounds = Bounds(6, newest=newest, max_bytes=most)
    plain = Tail(recent_bytes=1 << 30)
    plain.extend([record(n) for n in MESSAGES])
    expected = [one.id for one in plain.user_page("bob", bounds)]
    assert ids(entries_of(Watched().page, MESSAGES_ONLY.counts, bounds)) == expected


@pytest.mark.parametrize("newest", [True, False])
def test_a_message_among_many_changes_takes_few_looks(newest: bool) -> None:
    tail = Watched()
    tail.tail = Tail(recent_bytes=1 << 30)
    tail.tail.extend([other_kind(n) if n != 10_000 else record(n) for n in range(1, 20_000)])
    found = ids(entries_of(tail.page, MESSAGES_ONLY.counts, Bounds(1, newest=newest)))
    assert found == at(10_000)
    assert len(tail.asked) < 10


def test_what_is_in_the_tail_is_read_as_the_store_would_answer() -> None:
    one = record(1, origin="phone")
    assert entry_of(one) == Entry(
        one.id, one.id, one.channel, one.sender, one.origin, one.audience, one.body
    )


def with_body(body: bytes) -> Entry:
    return Entry(1, 1, "alice,bob", "alice", "laptop", ("alice", "bob"), body)


def test_the_same_json_in_other_bytes_is_the_same_message() -> None:
    """A database gives back the value, not the bytes."""
    one = with_body(b'{"a":1,"b":2}')
    assert not differ([with_body(b'{"b": 2, "a": 1}')], [one])
    assert differ([with_body(b'{"b": 2, "a": 2}')], [one])
    assert not differ([with_body(b'{"b": 2, "a": 2}')], [])


def test_a_page_that_was_cut_speaks_of_no_id_beyond_its_own() -> None:
    entries = [entry_of(record(n)) for n in (3, 4, 5)]
    first, last = entries[0].id, entries[-1].id
    newest, oldest = Bounds(3, 7, last + 99), Bounds(3, 7, last + 99, newest=False)
    cut, whole = Page(entries, True, True), Page(entries, False, True)
    assert covered_by(cut, newest) == (first - 1, last + 99)
    assert covered_by(cut, oldest) == (7, last + 1)
    assert covered_by(whole, newest) == covered_by(whole, oldest) == (7, last + 99)
