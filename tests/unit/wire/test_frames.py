"""Framing against RFC 6455: with another implementation as the client, and raw bytes."""

from __future__ import annotations

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
    accept_key,
    encode,
    encode_close,
    encode_text,
    mask,
    text_head,
)
from tests.unit.support.client_frames import decode, frame


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


def test_a_close_without_code_with_half_a_code_and_with_a_bad_reason() -> None:
    assert decode(frame(CLOSE)) == ([Event(CLOSE, b"", 1005)], None)
    assert decode(frame(CLOSE, b"\x03")) == ([], 1002)
    assert decode(frame(CLOSE, b"\x03\xe8\xff")) == ([], 1007)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_its_own_inverse_and_what_the_rfc_says(payload: bytes, key: bytes) -> None:
    masked = mask(payload, key)
    assert masked == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    assert mask(masked, key) == payload


def test_the_opcodes_are_the_rfcs() -> None:
    assert (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG) == (0, 1, 2, 8, 9, 10)
    assert frames.encode(TEXT, b"Hello") == b"\x81\x05Hello"
    assert decode(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")[0] == [Event(TEXT, b"Hello")]
