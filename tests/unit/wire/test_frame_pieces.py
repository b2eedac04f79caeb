"""However the bytes are cut and however many frames are taken, the result is the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Event, FrameDecoder
from tests.unit.support.client_frames import MAX, frame


def test_between_whole_frames_nothing_is_held() -> None:
    decoder = FrameDecoder(MAX)
    assert type(decoder._buffer) is bytes
    assert not decoder._buffer
    assert decoder.feed(frame(TEXT, b"x")[:4]) == []
    assert decoder.feed(frame(TEXT, b"x")[4:]) == [Event(TEXT, b"x")]
    # No bytearray, which would be an object of its own for every idle socket.
    assert type(decoder._buffer) is bytes
    assert not decoder._buffer
    decoder.feed(frame(TEXT, b"x", rsv=1) + b"more")
    assert decoder.failed
    assert decoder._buffer == b"", "what follows a break is not held either"


def test_many_small_fragments_cost_no_more_than_their_bytes() -> None:
    decoder = FrameDecoder(MAX)
    decoder.feed(frame(TEXT, b"", fin=False))
    empty = frame(CONTINUATION, b"", fin=False) * 1000
    for _ in range(20):
        assert decoder.feed(empty) == []
    assert decoder.failure is None
    assert decoder.feed(frame(CONTINUATION, b"x")) == [Event(TEXT, b"x")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("before", [b"", b"first"], ids=["alone", "after another"])
def test_a_frame_cut_in_two_or_three_at_any_byte_of_its_head(size: int, before: bytes) -> None:
    """All three forms of the length (RFC 6455 §5.2): 7 bits, 16 bits, 64 bits."""
    first = frame(TEXT, before) if before else b""
    wire = first + frame(TEXT, b"x" * size) + frame(PING, b"after")
    events = [Event(TEXT, before)] if before else []
    events += [Event(TEXT, b"x" * size), Event(PING, b"after")]
    head = range(len(first), min(len(first) + 16, len(wire)) + 1)  # 2, 8 of length, 4 of mask
    tail = range(max(head.stop, len(wire) - 16), len(wire) + 1)
    for start, end in itertools.combinations_with_replacement([*head, *tail], 2):
        decoder = FrameDecoder(MAX)
        got = [
            event
            for piece in (wire[:start], wire[start:end], wire[end:])
            for event in decoder.feed(piece)
        ]
        assert (got, decoder.failure) == (events, None), (start, end)


@pytest.mark.parametrize("size", [0, 125, 126, 1000])
def test_a_frame_cut_at_every_byte(size: int) -> None:
    wire = frame(BINARY, b"\xff" * size) + frame(TEXT, b"after")
    for cut in range(len(wire) + 1):
        decoder = FrameDecoder(MAX)
        got = decoder.feed(wire[:cut]) + decoder.feed(wire[cut:])
        assert got == [Event(BINARY, b"\xff" * size), Event(TEXT, b"after")], cut


@pytest.mark.parametrize("size", [126, 65_536, 1 << 40, (1 << 64) - 1])
def test_too_large_is_known_however_the_length_is_cut(size: int) -> None:
    wide = 2 if size < 65_536 else 8
    head = bytes([0x81, 0x80 | (126 if wide == 2 else 127)]) + size.to_bytes(wide, "big")
    for cut in range(len(head)):
        decoder = FrameDecoder(100)
        assert decoder.feed(head[:cut]) == []
        assert decoder.failure is None, "the length is not known yet"
        assert decoder.feed(head[cut:]) == []
        assert decoder.failure is not None
        assert decoder.failure.code == 1009


SHORT = st.one_of(
    st.tuples(st.just(TEXT), st.text(max_size=200).map(str.encode)),
    st.tuples(st.just(BINARY), st.binary(max_size=300)),
    st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
)
LONG = st.tuples(st.just(BINARY), st.sampled_from([126, 65_535, 65_536, 66_000]).map(bytes))
FRAMES = st.lists(SHORT, max_size=6)


@given(st.lists(st.integers(0, 5), max_size=40), st.lists(st.integers(1, 200), max_size=30))
def test_with_a_limit_it_is_the_same_in_more_calls(limits: list[int], cuts: list[int]) -> None:
    """Whatever comes between two calls, and however few frames each takes."""
    data = b"".join(
        frame(TEXT, f"n{number}".encode() * (number % 40))
        + frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"b")
        for number in range(20)
    )  # fmt: skip
    whole = FrameDecoder(MAX).feed(data)
    decoder = FrameDecoder(MAX)
    found: list[Event] = []
    at = 0
    for limit, cut in itertools.zip_longest(limits, cuts, fillvalue=3):
        events = decoder.feed(data[at : at + cut], limit)
        assert len(events) <= limit
        found += events
        at += cut
    found += decoder.feed(data[at:], 0)
    while decoder.unread:
        found += decoder.feed(b"", 7)
    assert found == whole
    assert decoder.failure is None


def test_what_is_left_unread_is_said_and_kept_without_a_copy() -> None:
    decoder = FrameDecoder(MAX)
    data = frame(PING) * 10
    assert len(decoder.feed(data, 4)) == 4
    assert decoder.unread
    assert decoder._buffer is data
    assert len(decoder.feed(b"", 6)) == 6
    assert not decoder.unread
    assert decoder.feed(frame(PING)[:3], 4) == []
    assert not decoder.unread, "that is no whole frame"


def test_of_nothing_there_is_nothing_unread() -> None:
    decoder = FrameDecoder(MAX)
    assert [decoder.unread] == [False]
    assert decoder.feed(b"", 0) == []
    assert decoder.feed(b"", 1) == []
    assert [decoder.unread] == [False]


def test_a_break_behind_the_limit_is_found_when_it_is_reached() -> None:
    decoder = FrameDecoder(MAX)
    assert len(decoder.feed(frame(PING) * 3 + frame(PING, rsv=1), 3)) == 3
    assert decoder.failure is None
    assert decoder.feed(b"", 3) == []
    assert decoder.failure is not None
    assert [decoder.unread] == [False]
    assert decoder.feed(frame(PING), 0) == []
    assert [decoder.unread] == [False]


def test_fragments_count_towards_the_limit_and_small_ones_are_counted() -> None:
    decoder = FrameDecoder(MAX)
    pieces = frame(TEXT, fin=False) + frame(CONTINUATION, b"x" * 511, fin=False) * 3
    pieces += frame(CONTINUATION, b"x" * 512, fin=False) + frame(CONTINUATION, b"y")
    assert decoder.feed(pieces, 5) == []
    assert decoder.unread
    assert decoder.small_fragments == 4
    (event,) = decoder.feed(b"", 5)
    assert len(event.payload) == 3 * 511 + 512 + 1
    assert decoder.small_fragments == 4, "the last one completes a message"


@given(st.lists(SHORT | LONG, max_size=6), st.data())
def test_fed_in_any_pieces_it_is_the_same(
    sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    wire = bytearray()
    for opcode, payload in sent:
        if opcode < CLOSE and data.draw(st.booleans(), label="fragmented"):
            cut = data.draw(st.integers(0, len(payload)))
            wire += frame(opcode, payload[:cut], fin=False) + frame(CONTINUATION, payload[cut:])
        else:
            wire += frame(opcode, payload)
    tail = data.draw(st.sampled_from([b"", frame(TEXT, b"x", rsv=1), frame(CLOSE, b"\x03\xe8")]))
    wire += tail
    whole = FrameDecoder(MAX)
    expected = whole.feed(bytes(wire))
    assert [(event.opcode, event.payload) for event in expected[: len(sent)]] == sent
    # Cuts lie in the heads of long frames as often as in their payloads.
    near = st.integers(0, min(len(wire), 20)) | st.integers(0, len(wire))
    cuts = sorted(data.draw(st.lists(near, max_size=8)))
    pieces = FrameDecoder(MAX)
    got: list[Event] = []
    for start, end in itertools.pairwise([0, *cuts, len(wire)]):
        got += pieces.feed(bytes(wire[start:end]))
    assert got == expected
    assert str(pieces.failure) == str(whole.failure)


@given(FRAMES)
def test_fed_byte_by_byte_it_is_the_same(sent: list[tuple[int, bytes]]) -> None:
    wire = b"".join(frame(opcode, payload) for opcode, payload in sent)
    decoder = FrameDecoder(MAX)
    got = [event for at in range(len(wire)) for event in decoder.feed(wire[at : at + 1])]
    assert [(event.opcode, event.payload) for event in got] == sent


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    decoder = FrameDecoder(100)
    for event in decoder.feed(data):
        assert event.opcode in {TEXT, BINARY, PING, PONG, CLOSE}
    if decoder.failure is not None:
        assert decoder.failure.code in {1002, 1007, 1009}


def test_a_frame_that_comes_in_drops_is_not_copied_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = 0
    real = FrameDecoder._frame

    def counting(self: FrameDecoder, data: bytes, start: int, events: list[Event]) -> int:
        nonlocal looked
        looked += 1
        return real(self, data, start, events)

    monkeypatch.setattr(FrameDecoder, "_frame", counting)
    wire = frame(TEXT, b"x" * 10_000)
    decoder = FrameDecoder(MAX)
    got = [event for at in range(len(wire)) for event in decoder.feed(wire[at : at + 1])]
    assert got == [Event(TEXT, b"x" * 10_000)]
    assert looked < 50
