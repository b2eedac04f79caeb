"""The tail at its exact bounds, and what it keeps once for many records."""

from __future__ import annotations

from msgspec.structs import replace

from chatsvc.core.page import Bounds
from chatsvc.log.backlog import LIST_BYTES, audience_bytes
from chatsvc.log.tail import Tail
from testkit.drafts import record

EVERYTHING = Bounds(10)


def held(tail: Tail) -> list[int]:
    return [entry.id for entry in tail.page(EVERYTHING)]


def test_a_new_tail_stands_at_the_beginning() -> None:
    tail = Tail(recent_bytes=0)
    assert (tail.watermark, tail.floor, tail.stored, tail.base, tail.head) == (0, 0, 0, 0, 0)
    assert tail.missing() == ()
    tail.extend([record(1)])
    assert (tail.complete_above, tail.head) == (0, 1)


def test_what_is_lost_is_missing_from_the_start() -> None:
    tail = Tail(recent_bytes=0, watermark=9, floor=9, hole=(3, 7))
    assert (tail.hole, tail.missing()) == ((3, 7), ((3, 7),))


def test_a_first_message_counts_for_itself_its_lists_and_the_names() -> None:
    tail, one = Tail(recent_bytes=0), record(1, to=("bob", "carol"))
    tail.extend([one])
    names = audience_bytes(one.channel, one.audience)
    assert tail.unsaved_bytes == one.cost + 4 * LIST_BYTES + names
    tail.advance(1)
    assert tail.recent_bytes == 0


def test_the_head_is_never_below_the_watermark() -> None:
    assert Tail(recent_bytes=0, watermark=5, floor=2).head == 5
    assert Tail(recent_bytes=0, watermark=5, floor=2, head=9).head == 9


def test_watchers_are_called_where_the_watermark_moves_and_told_where_to() -> None:
    tail = Tail(recent_bytes=1 << 20)
    seen: list[int] = []
    tail.watch(seen.append)
    tail.extend([record(3), record(4)])
    for watermark in (3, 3, 2, 4):
        tail.advance(watermark)
    assert seen == [3, 4]


def test_what_is_recent_fills_its_bound_to_the_last_byte() -> None:
    measured = Tail(recent_bytes=0)
    measured.extend([record(1), record(2)])
    for bound, expected in ((measured.unsaved_bytes, [1, 2]), (measured.unsaved_bytes - 1, [2])):
        tail = Tail(recent_bytes=bound)
        tail.extend([record(1), record(2)])
        tail.advance(2)
        assert held(tail) == expected


def test_what_goes_is_no_longer_counted() -> None:
    tail = Tail(recent_bytes=0)
    tail.extend([record(1), record(2, to=("carol",))])
    for watermark in (1, 2):
        tail.advance(watermark)
    assert (held(tail), tail.recent_bytes, tail.unsaved_bytes) == ([], 0, 0)


def test_names_that_are_the_same_are_kept_once() -> None:
    """Each request and each row of the file brings strings of its own."""
    tail = Tail(recent_bytes=1 << 20)
    first, second = record(1), record(2)
    assert first.audience is not second.audience
    tail.extend([first, second])
    one, other = tail.page(EVERYTHING)
    assert one.audience is other.audience
    assert one.channel is other.channel


def test_names_that_differ_in_one_conversation_are_counted_each_and_go_with_its_list() -> None:
    tail = Tail(recent_bytes=0)
    first = record(1)
    wider = replace(record(2), audience=(*first.audience, "somebody new"))
    tail.extend([first])
    before = tail.unsaved_bytes
    tail.extend([wider])
    names = audience_bytes(wider.channel, wider.audience)
    assert tail.unsaved_bytes - before == wider.cost + LIST_BYTES + names
    tail.advance(2)
    assert (held(tail), tail.recent_bytes) == ([], 0)
