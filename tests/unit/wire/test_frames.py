"""Framing against RFC 6455: with another implementation as the client, and raw bytes."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from chatsvc.wire import frames
from chatsvc.wire.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Event,
    FrameDecoder,
    FramingError,
    accept_key,
    encode,
    encode_close,
    encode_text,
    mask,
    text_head,
)

MAX = 256 * 1024
KEY = b"\x37\xfa\x21\x3d"


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes | None = KEY
) -> bytes:
    """A frame as a client sends it, or as none should."""
    size = len(payload)
    masked = 0x80 if key is not None else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 65536:
        head += bytes([masked | 126]) + struct.pack(">H", size)
    else:
        head += bytes([masked | 127]) + struct.pack(">Q", size)
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def decode(data: bytes, max_message: int = MAX) -> tuple[list[Event], int | None]:
    """What comes out, and the code that the connection fails with."""
    decoder = FrameDecoder(max_message)
    events = decoder.feed(data)
    return events, decoder.failure.code if decoder.failure else None


def websockets_client() -> ClientProtocol:
    return ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)


def test_the_accept_key_is_the_rfcs_own_example() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_another_implementation_reads_our_frames(size: int) -> None:
    client = websockets_client()
    client.receive_data(encode_text(b"x" * size) + encode(PING, b"p"))
    text, ping = client.events_received()
    assert isinstance(text, Frame)
    assert (text.opcode, bytes(text.data), text.fin) == (Opcode.TEXT, b"x" * size, True)
    assert isinstance(ping, Frame)
    assert (ping.opcode, bytes(ping.data)) == (Opcode.PING, b"p")


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_head_before_the_bytes_is_the_same_frame(size: int) -> None:
    assert text_head(size) + b"x" * size == encode_text(b"x" * size)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_we_read_another_implementations_frames(size: int) -> None:
    client = websockets_client()
    client.send_text(b"y" * size)
    client.send_binary(b"\xff" * size)
    client.send_ping(b"p")
    client.send_pong(b"q")
    client.send_text(b"frag", fin=False)
    client.send_continuation(b"ment", fin=True)
    client.send_close(1001, "going")
    assert decode(b"".join(client.data_to_send())) == (
        [
            Event(TEXT, b"y" * size),
            Event(BINARY, b"\xff" * size),
            Event(PING, b"p"),
            Event(PONG, b"q"),
            Event(TEXT, b"fragment"),
            Event(CLOSE, b"going", 1001),
        ],
        None,
    )


@pytest.mark.parametrize("code", [1000, 1012, 4001])
def test_another_implementation_reads_our_close(code: int) -> None:
    client = websockets_client()
    client.receive_data(encode_close(code, "why"))
    assert client.close_rcvd == Close(code, "why")


def test_a_close_without_a_reason_is_its_code_alone() -> None:
    assert encode_close(1001) == b"\x88\x02\x03\xe9"


def test_a_reason_may_fill_the_control_frame() -> None:
    assert encode_close(1011, "x" * 200) == b"\x88\x7d\x03\xf3" + b"x" * 123


@pytest.mark.parametrize("reason", ["x" * 200, "é" * 100, "x" + "é" * 100, "\U0001f600" * 50])
def test_a_long_reason_is_cut_at_a_character(reason: str) -> None:
    data = encode_close(1011, reason)
    client = websockets_client()
    client.receive_data(data)
    assert client.close_rcvd is not None
    assert reason.startswith(client.close_rcvd.reason)
    assert 120 <= len(client.close_rcvd.reason.encode()) <= 123


def test_a_message_in_fragments() -> None:
    data = (
        frame(TEXT, b"a", fin=False)
        + frame(CONTINUATION, b"", fin=False)
        + frame(CONTINUATION, b"c")
    )
    assert decode(data) == ([Event(TEXT, b"ac")], None)
    data = frame(BINARY, b"\xff", fin=False) + frame(CONTINUATION, b"\xfe")
    assert decode(data) == ([Event(BINARY, b"\xff\xfe")], None)


def test_control_frames_between_fragments_come_at_once() -> None:
    data = (
        frame(TEXT, b"a", fin=False)
        + frame(PING, b"1")
        + frame(CONTINUATION, b"b", fin=False)
        + frame(PONG, b"2")
        + frame(CONTINUATION, b"c")
        + frame(TEXT, b"next")
    )
    assert decode(data) == (
        [Event(PING, b"1"), Event(PONG, b"2"), Event(TEXT, b"abc"), Event(TEXT, b"next")],
        None,
    )


def test_a_close_between_fragments() -> None:
    data = frame(TEXT, b"a", fin=False) + frame(CLOSE, b"\x03\xe8")
    assert decode(data) == ([Event(CLOSE, b"", 1000)], None)


@pytest.mark.parametrize("cut", range(1, 10))
def test_utf8_may_be_split_over_fragments(cut: int) -> None:
    text = "κόσμε".encode()
    data = frame(TEXT, text[:cut], fin=False) + frame(CONTINUATION, text[cut:])
    assert decode(data) == ([Event(TEXT, text)], None)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"caf\xe9",
        b"\xe2\x82",
        b"ok\x80",
    ],
)
def test_text_that_is_not_utf8_fails_with_1007(text: bytes) -> None:
    assert decode(frame(TEXT, text)) == ([], 1007)
    assert decode(frame(TEXT, b"a", fin=False) + frame(CONTINUATION, text)) == ([], 1007)
    assert decode(frame(BINARY, text)) == ([Event(BINARY, text)], None)


def test_bad_utf8_fails_in_the_fragment_that_holds_it() -> None:
    decoder = FrameDecoder(MAX)
    decoder.feed(frame(TEXT, b"\xce\xba\xed\xa0\x80", fin=False))
    assert decoder.failure is not None
    assert decoder.failure.code == 1007


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_close_codes_that_are_not_for_the_wire_fail_with_1002(code: int) -> None:
    assert decode(frame(CLOSE, code.to_bytes(2, "big"))) == ([], 1002)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
)
def test_close_codes_for_the_wire(code: int) -> None:
    data = frame(CLOSE, code.to_bytes(2, "big") + b"bye")
    assert decode(data) == ([Event(CLOSE, b"bye", code)], None)


def test_a_close_without_code_with_half_a_code_and_with_a_bad_reason() -> None:
    assert decode(frame(CLOSE)) == ([Event(CLOSE, b"", 1005)], None)
    assert decode(frame(CLOSE, b"\x03")) == ([], 1002)
    assert decode(frame(CLOSE, b"\x03\xe8\xff")) == ([], 1007)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (frame(TEXT, b"x", rsv=1), "reserved"),
        (frame(TEXT, b"x", rsv=2), "reserved"),
        (frame(PING, b"x", rsv=4), "reserved"),
        (frame(TEXT, b"x", key=None), "mask its frames"),
        (frame(CLOSE, b"\x03\xe8", key=None), "mask its frames"),
        *((frame(opcode), "opcode") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        (frame(PING, b"x", fin=False), "fragmented"),
        (frame(CLOSE, b"", fin=False), "fragmented"),
        (frame(PING, b"x" * 126), "125"),
        (frame(CLOSE, b"\x03\xe8" + b"x" * 124), "125"),
        (frame(CONTINUATION, b"x"), "in sequence"),
        (frame(CONTINUATION, b"x", fin=False), "in sequence"),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), "in sequence"),
        (frame(TEXT, b"x", fin=False) + frame(BINARY, b"y", fin=False), "in sequence"),
        (
            frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"y") + frame(CONTINUATION),
            "in sequence",
        ),
    ],
)
def test_broken_framing_fails_with_1002(data: bytes, what: str) -> None:
    decoder = FrameDecoder(MAX)
    decoder.feed(data)
    assert decoder.failure is not None
    assert decoder.failure.code == 1002
    assert what in decoder.failure.reason


def test_what_came_before_the_break_is_good_and_what_follows_is_not_looked_at() -> None:
    decoder = FrameDecoder(MAX)
    events = decoder.feed(frame(TEXT, b"1") + frame(TEXT, b"2", rsv=1) + frame(TEXT, b"3"))
    assert events == [Event(TEXT, b"1")]
    assert decoder.feed(frame(TEXT, b"4")) == []


@pytest.mark.parametrize("size", [101, 126, 65536, 1 << 40, (1 << 64) - 1])
def test_too_large_is_known_by_the_header_alone(size: int) -> None:
    if size < 126:
        head = bytes([0x81, 0x80 | size])
    elif size < 65536:
        head = bytes([0x81, 0x80 | 126]) + struct.pack(">H", size)
    else:
        head = bytes([0x81, 0x80 | 127]) + struct.pack(">Q", size)
    assert decode(head, max_message=100) == ([], 1009)


def test_a_failure_says_what_must_hold() -> None:
    for data, code, rule in (
        (frame(TEXT, b"x" * 101), 1009, "a message must have at most 100 bytes"),
        (frame(CLOSE, b"\x00\x00"), 1002, "the close code must be a valid one"),
        (frame(TEXT, b"\xff"), 1007, "text must be UTF-8"),
    ):
        decoder = FrameDecoder(100)
        assert decoder.feed(data) == []
        assert isinstance(decoder.failure, FramingError)
        assert (decoder.failure.code, decoder.failure.reason) == (code, rule)
        assert str(decoder.failure) == rule


def test_a_break_is_found_with_the_byte_that_makes_it() -> None:
    decoder = FrameDecoder(MAX)
    decoder.feed(b"\x81")
    assert decoder.failure is None
    decoder.feed(b"\x05")
    assert decoder.failed, "the second byte says that the frame is not masked"


@pytest.mark.parametrize("parts", [1, 2, 3, 10])
def test_the_bound_is_of_the_message_however_it_is_cut(parts: int) -> None:
    def cut(size: int) -> bytes:
        sizes = [size // parts] * (parts - 1)
        sizes.append(size - sum(sizes))
        data = b""
        for at, part in enumerate(sizes):
            opcode = TEXT if at == 0 else CONTINUATION
            data += frame(opcode, b"x" * part, fin=at == parts - 1)
        return data

    assert decode(cut(1000), max_message=1000) == ([Event(TEXT, b"x" * 1000)], None)
    assert decode(cut(1001), max_message=1000) == ([], 1009)


def test_control_frames_do_not_count_towards_the_bound() -> None:
    data = frame(TEXT, b"x" * 100, fin=False) + frame(PING, b"p" * 125) + frame(CONTINUATION)
    assert decode(data, max_message=100) == (
        [Event(PING, b"p" * 125), Event(TEXT, b"x" * 100)],
        None,
    )


def test_a_close_does_not_count_towards_the_bound() -> None:
    data = frame(CLOSE, b"\x03\xe8" + b"r" * 20)
    assert decode(data, max_message=10) == ([Event(CLOSE, b"r" * 20, 1000)], None)


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
    assert [tuple(event[:2]) for event in expected[: len(sent)]] == sent
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


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_its_own_inverse_and_what_the_rfc_says(payload: bytes, key: bytes) -> None:
    masked = mask(payload, key)
    assert masked == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    assert mask(masked, key) == payload


def test_the_opcodes_are_the_rfcs() -> None:
    assert (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG) == (0, 1, 2, 8, 9, 10)
    assert frames.encode(TEXT, b"Hello") == b"\x81\x05Hello"
    assert decode(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")[0] == [Event(TEXT, b"Hello")]
