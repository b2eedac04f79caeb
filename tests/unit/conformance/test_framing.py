"""Frames, beside the server's own code, which knows nothing of this one."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.wire import frames
from chatsvc_conformance.framing import TEXT, RawFrame, accept_key, client_frame, mask, read_frame


def test_the_accept_key_is_that_of_rfc_6455() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_its_own_inverse_and_the_servers(payload: bytes, key: bytes) -> None:
    assert mask(mask(payload, key), key) == payload
    assert mask(payload, key) == frames.mask(payload, key)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
async def test_a_frame_is_read_as_it_was_written(size: int) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(client_frame(TEXT, b"x" * size))
    frame = await read_frame(reader)
    length_bytes = 0 if size < 126 else 2 if size < 65_536 else 8
    assert frame == RawFrame(True, 0, TEXT, True, b"x" * size, length_bytes)


@pytest.mark.parametrize("size", [0, 125, 126, 65_536])
def test_the_server_reads_it(size: int) -> None:
    decoder = frames.FrameDecoder(100_000)
    events = decoder.feed(client_frame(TEXT, b"x" * size))
    assert [(event.opcode, event.payload) for event in events] == [(frames.TEXT, b"x" * size)]


async def test_the_end_within_a_frame_is_told_from_the_end_before_it() -> None:
    for sent in (b"", b"\x81", b"\x81\x05abc"):
        reader = asyncio.StreamReader()
        reader.feed_data(sent)
        reader.feed_eof()
        with pytest.raises(asyncio.IncompleteReadError) as raised:
            await read_frame(reader)
        assert raised.value.partial == sent
