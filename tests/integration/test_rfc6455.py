"""WebSocket framing over the wire, against RFC 6455 and a running service.

What Autobahn's suite asks of a server, by its case groups, without compression:

========  ==============================================  =======================================
Group     What it asks                                    Here
========  ==============================================  =======================================
1.1       text of 0 to 65,536 bytes, in chops             ``test_text_of_any_size``,
                                                          ``test_text_in_chops``,
                                                          ``test_empty_text``
1.2       binary of any size                              ``test_binary_is_refused``
2.1–2.4   pings of 0 to 125 bytes                         ``test_a_ping_is_answered``
2.5       a ping of 126 bytes                             ``test_broken_framing_is_1002``
2.6       a ping in chops of an octet                     ``test_a_ping_in_drops``
2.7–2.9   pongs that nobody asked for                     ``test_a_pong_is_passed_over``
2.10–11   ten pings in a row                              ``test_ten_pings_in_a_row``
3.1–3.7   reserved bits                                   ``test_reserved_bits_are_1002``
4.1       reserved data opcodes                           ``test_reserved_opcodes_are_1002``
4.2       reserved control opcodes                        ``test_reserved_opcodes_are_1002``
5.1–5.2   control frames in fragments                     ``test_broken_framing_is_1002``
5.3–5.8   text in fragments, pings in between, chopped    ``test_fragments``
5.9–5.18  continuations out of turn                       ``test_broken_framing_is_1002``
5.19–20   five fragments with pings in between            ``test_fragments``
6.1       empty fragments                                 ``test_fragments``
6.2       valid UTF-8, split anywhere                     ``test_utf8_may_be_split_anywhere``
6.3–6.21  invalid UTF-8, found at once                    ``test_invalid_utf8_is_1007``,
          and in any fragment                             ``test_invalid_utf8_fails_fast``
7.1       what comes after a close                        ``test_nothing_after_a_close_is_answered``
7.3       closes without code, with and without reason    ``test_a_close_is_answered``
7.3.2, 6  a close of one byte, a reason of 124            ``test_broken_framing_is_1002``
7.5       a reason that is not UTF-8                      ``test_a_reason_is_utf8``
7.7       valid codes                                     ``test_the_code_is_sent_back``
7.9, 13   invalid codes, and those above 4999             ``test_codes_that_are_not_for_the_wire``
9.1–9.6   large messages, and in fragments and chops      ``test_the_bound_of_a_message``,
                                                          ``test_text_in_chops``
9.7–9.8   many small messages                             ``test_many_small_messages``
10.1      64 KiB in fragments of 1,300 bytes              ``test_fragments_of_1300_bytes``
========  ==============================================  =======================================

Group 7 is in ``test_rfc6455_closing.py``, what Autobahn does not ask of the handshake in
``test_rfc6455_handshake.py``. Binary messages (1.2, 9.2, 9.4, 9.8) are refused with 1003, as
the protocol says. Groups 12 and 13 are compression, which is never negotiated.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest

from chatsvc.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from chatsvc_conformance.framing import RawFrame, client_frame
from tests.integration.support import rfc6455
from tests.integration.support.rfc6455 import (
    MAX_MESSAGE,
    alive,
    answered,
    closing,
    drip,
    failed,
    fragments,
    opened,
    padded,
)

GREETING = '{"type":"ping","ref":"Κόσμε 𝄞 é"}'.encode()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rfc6455.service(tmp_path_factory.mktemp("service")) as url:
        yield url


# 1: text and binary


@pytest.mark.parametrize("size", [25, 125, 126, 127, 128, 65_535, 65_536])
async def test_text_of_any_size(url: str, size: int) -> None:
    async with opened(url) as raw:
        raw.send(TEXT, padded(size))
        await answered(raw)


@pytest.mark.parametrize("length_bytes", [2, 8])
async def test_a_length_may_be_written_longer_than_it_needs(url: str, length_bytes: int) -> None:
    """RFC 6455 §5.2 asks for the shortest of whoever sends, not of whoever reads."""
    async with opened(url) as raw:
        raw.send(TEXT, padded(25), length_bytes=length_bytes)
        await answered(raw)


@pytest.mark.parametrize(("size", "chop"), [(30, 1), (65_536, 997)])
async def test_text_in_chops(url: str, size: int, chop: int) -> None:
    async with opened(url) as raw:
        await drip(raw, client_frame(TEXT, padded(size)), chop)
        await answered(raw)


async def test_empty_text(url: str) -> None:
    """A message, though none of this protocol: it is refused, and the connection goes on."""
    async with opened(url) as raw:
        raw.send(TEXT, b"")
        assert json.loads((await raw.frame()).payload)["type"] == "error"
        await alive(raw)


@pytest.mark.parametrize("size", [0, 125, 126, 65_536])
async def test_binary_is_refused(url: str, size: int) -> None:
    async with opened(url) as raw:
        raw.send(BINARY, b"\xfe" * size)
        assert await raw.close_code() == 1003
        raw.send(CLOSE, (1003).to_bytes(2, "big"))
        assert await raw.rest() == []


@pytest.mark.parametrize(("size", "length_bytes"), [(25, 0), (125, 0), (126, 2), (127, 2)])
async def test_our_frames_say_their_length_as_shortly_as_can_be(
    url: str, size: int, length_bytes: int
) -> None:
    room = size - len(b'{"type":"pong","ref":""}')
    ref = "é" * max(0, room - 64) + "x" * (room - 2 * max(0, room - 64))
    async with opened(url) as raw:
        raw.send(TEXT, json.dumps({"type": "ping", "ref": ref}).encode())
        frame = await raw.frame()
        assert (len(frame.payload), frame.length_bytes) == (size, length_bytes)
        assert (frame.fin, frame.reserved, frame.masked) == (True, 0, False)


async def test_our_large_frames_say_their_length_as_shortly_as_can_be(url: str) -> None:
    people = ["alice", "bob", *(f"{number:03d}".ljust(128, "x") for number in range(30))]
    async with opened(url, "bob") as bob, opened(url) as alice:

        async def delivered(content: str) -> RawFrame:
            sent = {"type": "send", "participants": people, "content": content}
            alice.send(TEXT, json.dumps(sent, ensure_ascii=False).encode())
            frame = await bob.frame_of(TEXT)
            assert json.loads(frame.payload)["content"] == content
            return frame

        around = len((await delivered("x")).payload) - 1
        for size, length_bytes in ((65_535, 2), (65_536, 8)):
            large, rest = divmod(size - around, 4)
            frame = await delivered("𝄞" * large + "x" * rest)
            assert (len(frame.payload), frame.length_bytes) == (size, length_bytes)


# 2: pings and pongs


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe\xfd", b"\xfe" * 125])
async def test_a_ping_is_answered(url: str, payload: bytes) -> None:
    async with opened(url) as raw:
        raw.send(PING, payload)
        frame = await raw.frame()
        assert (frame.opcode, frame.payload) == (PONG, payload)
        await alive(raw)


async def test_a_ping_in_drops(url: str) -> None:
    async with opened(url) as raw:
        await drip(raw, client_frame(PING, b"\xfe" * 125))
        frame = await raw.frame()
        assert (frame.opcode, frame.payload) == (PONG, b"\xfe" * 125)


@pytest.mark.parametrize("payload", [b"", b"nobody asked", b"\xfe" * 125])
async def test_a_pong_is_passed_over(url: str, payload: bytes) -> None:
    async with opened(url) as raw:
        raw.send(PONG, payload)
        raw.send(PING, b"x")
        frame = await raw.frame()
        assert (frame.opcode, frame.payload) == (PONG, b"x")
        await alive(raw)


@pytest.mark.parametrize("chop", [None, 1])
async def test_ten_pings_in_a_row(url: str, chop: int | None) -> None:
    payloads = [b"payload-%d" % number for number in range(10)]
    data = b"".join(client_frame(PING, payload) for payload in payloads)
    async with opened(url) as raw:
        await drip(raw, data, chop or len(data))
        found = [await raw.frame() for _ in payloads]
        assert [(frame.opcode, frame.payload) for frame in found] == [(PONG, p) for p in payloads]


# 3 and 4: what is reserved


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
async def test_reserved_bits_are_1002(url: str, reserved: int, opcode: int) -> None:
    async with opened(url) as raw:
        raw.send(TEXT, padded(25))
        raw.send(opcode, b"", reserved=reserved)
        raw.send(PING, b"not answered")
        await answered(raw)
        await failed(raw, 1002)


@pytest.mark.parametrize("opcode", [*range(0x3, 0x8), *range(0xB, 0x10)])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode"])
async def test_reserved_opcodes_are_1002(url: str, opcode: int, payload: bytes) -> None:
    async with opened(url) as raw:
        raw.send(TEXT, padded(25))
        raw.send(opcode, payload)
        raw.send(PING, b"not answered")
        await answered(raw)
        await failed(raw, 1002)


# 5: fragmentation


FRAGMENTED = {
    "two": (GREETING[:7], GREETING[7:]),
    "five": tuple(GREETING[at : at + 8] for at in range(0, len(GREETING), 8)),
    "empty-first": (b"", GREETING),
    "empty-last": (GREETING, b""),
    "empty-between": (GREETING[:9], b"", b"", GREETING[9:]),
    "an-octet-each": tuple(bytes((octet,)) for octet in GREETING),
}


@pytest.mark.parametrize("parts", FRAGMENTED.values(), ids=FRAGMENTED)
@pytest.mark.parametrize("between", [None, b"", b"ping"])
@pytest.mark.parametrize("chop", [None, 3])
async def test_fragments(
    url: str, parts: tuple[bytes, ...], between: bytes | None, chop: int | None
) -> None:
    async with opened(url) as raw:
        data = fragments(*parts, between=between)
        await drip(raw, data, chop or len(data))
        if between is not None:
            for _ in parts[1:]:
                frame = await raw.frame()
                assert (frame.opcode, frame.payload) == (PONG, between)
        await answered(raw, "Κόσμε 𝄞 é")
        await alive(raw)


BROKEN = {
    "unmasked": client_frame(TEXT, b"{}", masked=False),
    "unmasked-ping": client_frame(PING, b"", masked=False),
    "unmasked-close": client_frame(CLOSE, b"", masked=False),
    "ping-of-126": client_frame(PING, b"\xfe" * 126),
    "pong-of-126": client_frame(PONG, b"\xfe" * 126),
    "close-of-126": client_frame(CLOSE, b"\x03\xe8" + b"x" * 124),
    "ping-in-fragments": client_frame(PING, b"a", fin=False) + client_frame(CONTINUATION, b"b"),
    "pong-in-fragments": client_frame(PONG, b"a", fin=False) + client_frame(CONTINUATION, b"b"),
    "close-in-fragments": client_frame(CLOSE, b"\x03\xe8", fin=False),
    "continuation-of-nothing": client_frame(CONTINUATION, b"x"),
    "continuation-of-nothing-unfinished": client_frame(CONTINUATION, b"x", fin=False),
    "continuation-after-a-message": client_frame(TEXT, b"", fin=False)
    + client_frame(CONTINUATION, b'{"type":"ping","ref":"r"}')
    + client_frame(CONTINUATION, b"more"),
    "text-within-fragments": client_frame(TEXT, b"{", fin=False) + client_frame(TEXT, b"}"),
    "text-within-fragments-unfinished": client_frame(TEXT, b"{", fin=False) * 2,
    "binary-within-fragments": client_frame(TEXT, b"{", fin=False) + client_frame(BINARY, b"}"),
    "text-within-binary": client_frame(BINARY, b"{", fin=False) + client_frame(TEXT, b"}"),
    "close-of-one-byte": client_frame(CLOSE, b"\x03"),
    "reason-of-124": client_frame(CLOSE, b"\x03\xe8" + b"*" * 124),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("chop", [None, 1])
async def test_broken_framing_is_1002(url: str, data: bytes, chop: int | None) -> None:
    async with opened(url) as raw:
        await drip(raw, data, chop or len(data))
        found = await raw.rest()
        if found[0].opcode == TEXT:  # of the good message before the fault
            found.pop(0)
        assert closing(found) == 1002


@pytest.mark.parametrize("tail", [1, 100, 100_000])
async def test_what_follows_a_broken_frame_does_not_cost_the_close(url: str, tail: int) -> None:
    """Unread bytes would make the kernel reset the connection, and the close frame with it."""
    async with opened(url) as raw:
        raw.write(client_frame(0x3, b"") + b"\x00" * tail)
        await failed(raw, 1002)


# 6: UTF-8


@pytest.mark.parametrize("at", range(1, len(GREETING)))
async def test_utf8_may_be_split_anywhere(url: str, at: int) -> None:
    async with opened(url) as raw:
        raw.write(fragments(GREETING[:at], GREETING[at:]))
        await answered(raw, "Κόσμε 𝄞 é")


VALID = ["\u0000", "\u007f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd"]
VALID += ["\uffff", "\U00010000", "\U0010ffff", "\ufeff", "\ufdd0", "\U0001fffe"]


@pytest.mark.parametrize("char", VALID, ids=[f"U+{ord(char):04X}" for char in VALID])
async def test_valid_utf8(url: str, char: str) -> None:
    async with opened(url) as raw:
        text = json.dumps({"type": "ping", "ref": char}, ensure_ascii=char == "\u0000")
        raw.send(TEXT, text.encode())
        await answered(raw, char)


INVALID = {
    "surrogate-within": b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    "continuation-alone": b"\x80",
    "last-continuation-alone": b"\xbf",
    "continuations": b"\x80\xbf\x80\xbf\x80",
    "first-of-2-alone": b"\xc2 ",
    "first-of-3-alone": b"\xe0 ",
    "first-of-4-alone": b"\xf0 ",
    "2-bytes-cut": b"\xdf",
    "3-bytes-cut": b"\xef\xbf",
    "4-bytes-cut": b"\xf7\xbf\xbf",
    "5-bytes": b"\xf8\x88\x80\x80\x80",
    "6-bytes": b"\xfc\x84\x80\x80\x80\x80",
    "fe": b"\xfe",
    "ff": b"\xff",
    "overlong-slash-2": b"\xc0\xaf",
    "overlong-slash-3": b"\xe0\x80\xaf",
    "overlong-slash-4": b"\xf0\x80\x80\xaf",
    "overlong-nul": b"\xc0\x80",
    "overlong-7ff": b"\xe0\x9f\xbf",
    "overlong-ffff": b"\xf0\x8f\xbf\xbf",
    "high-surrogate": b"\xed\xa0\x80",
    "low-surrogate": b"\xed\xbf\xbf",
    "surrogate-pair": b"\xed\xa0\x80\xed\xb0\x80",
    "above-10ffff": b"\xf4\x90\x80\x80",
}


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
@pytest.mark.parametrize("fragmented", [False, True])
async def test_invalid_utf8_is_1007(url: str, text: bytes, fragmented: bool) -> None:
    async with opened(url) as raw:
        if fragmented:
            raw.write(fragments(b"good so far", *(bytes((octet,)) for octet in text), b""))
        else:
            raw.send(TEXT, text)
        await failed(raw, 1007)


async def test_invalid_utf8_fails_fast(url: str) -> None:
    """In the fragment that holds it: the rest of the message never comes."""
    async with opened(url) as raw:
        raw.send(TEXT, "Κόσμε".encode(), fin=False)
        raw.send(PING, b"so far so good")
        assert (await raw.frame()).opcode == PONG
        raw.send(CONTINUATION, b"\xf4\x90\x80\x80", fin=False)
        await failed(raw, 1007)


# 9 and 10: limits


@pytest.mark.parametrize("parts", [1, 2, 64])
async def test_the_bound_of_a_message(url: str, parts: int) -> None:
    for size, code in ((MAX_MESSAGE, None), (MAX_MESSAGE + 1, 1009)):
        text = padded(size)
        step = -(-size // parts)
        async with opened(url) as raw:
            raw.write(fragments(*(text[at : at + step] for at in range(0, size, step))))
            if code is None:
                await answered(raw)
            else:
                await failed(raw, code)


@pytest.mark.parametrize("size", [MAX_MESSAGE + 1, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63])
async def test_too_large_is_known_by_the_head(url: str, size: int) -> None:
    """Not a byte of the payload is waited for; 2^63 has the bit that must be 0 (§5.2)."""
    async with opened(url) as raw:
        raw.write(b"\x81\xff" + size.to_bytes(8, "big") + b"mask")
        code = closing(await raw.rest())
        assert code == 1009 or (size >= 1 << 63 and code == 1002)


async def test_many_small_messages(url: str) -> None:
    async with opened(url) as raw:
        # As many as there may be at once that are not accepted sends.
        for burst in itertools.repeat(client_frame(TEXT, padded(25)) * 480, 2):
            raw.write(burst)
            for _ in range(480):
                await answered(raw)


async def test_fragments_of_1300_bytes(url: str) -> None:
    async with opened(url) as raw:
        text = padded(MAX_MESSAGE)
        raw.write(fragments(*(text[at : at + 1300] for at in range(0, len(text), 1300))))
        await answered(raw)
