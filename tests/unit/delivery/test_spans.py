"""The frames of a run from one record on, joined once for all that wait for them."""

from __future__ import annotations

from chatsvc.delivery.spans import Run, Span
from testkit.drafts import record

AUDIENCE = ("alice", "bob")


def run(*frames: bytes) -> Run:
    made = Run(AUDIENCE)
    extend(made, *frames)
    return made


def extend(made: Run, *frames: bytes) -> None:
    for frame in frames:
        made.records.append(record(len(made.records) + 1))
        made.frames.append(frame)


def test_a_run_is_of_one_audience_and_begins_empty() -> None:
    made = Run(AUDIENCE)
    assert made.audience == AUDIENCE
    assert (made.records, made.frames, made.senders, made.waiting) == ([], [], set(), 0)


def test_a_span_joins_what_comes_from_its_start_on() -> None:
    made = run(b"1", b"22", b"333")
    span = Span(made, 1)
    assert span.first == 2
    assert span.joined(5) == (b"22333", 2)
    first = span.joined(5)[0]
    assert span.joined(5)[0] is first, "joined once"
    extend(made, b"4444")
    assert span.joined(9) == (b"223334444", 3)


def test_a_span_of_nothing_yet_is_empty() -> None:
    made = run(b"1")
    span = Span(made, 1)
    assert span.joined(0) == (b"", 0)
    extend(made, b"22")
    assert span.joined(2) == (b"22", 1)


def test_beyond_the_limit_nothing_is_joined_however_it_comes() -> None:
    made = run(b"1", b"22")
    span = Span(made, 0)
    assert span.joined(2) == (b"", 0)
    assert span.joined(2) == (b"", 0)
    grown = Span(made, 0)
    assert grown.joined(3) == (b"122", 2)
    extend(made, b"3")
    assert grown.joined(3) == (b"", 0), "what was joined before counts"


def test_what_a_reader_wants_of_it() -> None:
    made = run(b"1", b"22", b"333")
    made.records[1] = record(2, sender="bob", to=("alice",))
    span = Span(made, 1)
    assert span.wanted(lambda one: True) == [(2, b"22"), (3, b"333")]
    assert span.wanted(lambda one: one.sender != "bob") == [(3, b"333")]
