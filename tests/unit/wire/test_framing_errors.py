"""Frames that break RFC 6455 or a bound fail, by code and by what must hold."""

from __future__ import annotations

import struct

import pytest

from chatsvc.wire.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Event,
    FrameDecoder,
    FramingError,
)
from tests.unit.support.client_frames import MAX, decode, frame


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
