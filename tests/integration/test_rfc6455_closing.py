"""The closing handshake over the wire (RFC 6455 §7), against a running service.

Autobahn's case group 7; the table is in ``test_rfc6455.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatsvc.wire.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT
from chatsvc_conformance.framing import client_frame
from tests.integration.support import rfc6455
from tests.integration.support.rfc6455 import answered, closing, failed, opened, padded


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rfc6455.service(tmp_path_factory.mktemp("service")) as url:
        yield url


def reason(code: int, text: str = "") -> bytes:
    return code.to_bytes(2, "big") + text.encode()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", None),
        (reason(1000), 1000),
        (reason(1000, "Hello World!"), 1000),
        (reason(1000, "*" * 123), 1000),
        (reason(1001, "Κόσμε"), 1001),
    ],
)
async def test_a_close_is_answered(url: str, payload: bytes, code: int | None) -> None:
    async with opened(url) as raw:
        raw.send(CLOSE, payload)
        told = closing(await raw.rest())
        assert told == code or (code is None and told == 1000)


async def test_a_close_after_a_message(url: str) -> None:
    async with opened(url) as raw:
        raw.write(client_frame(TEXT, padded(25)) + client_frame(CLOSE, reason(1000)))
        await answered(raw)
        await failed(raw, 1000)


AFTER = {
    "another-close": client_frame(CLOSE, reason(1000)),
    "a-ping": client_frame(PING, b"late"),
    "a-message": client_frame(TEXT, padded(25)),
    "the-rest-of-a-message": client_frame(CONTINUATION, b"rest"),
    "what-is-no-frame": b"\xff" * 64,
    "much": client_frame(TEXT, b" " * 60_000) * 8,
}


@pytest.mark.parametrize("late", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("at_once", [True, False])
async def test_nothing_after_a_close_is_answered(url: str, late: bytes, at_once: bool) -> None:
    async with opened(url) as raw:
        raw.send(TEXT, b'{"type":', fin=False)
        raw.send(CLOSE, reason(1000))
        if not at_once:
            await raw.flush()
        raw.write(late)
        await failed(raw, 1000)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
)
async def test_the_code_is_sent_back(url: str, code: int) -> None:
    async with opened(url) as raw:
        raw.send(CLOSE, reason(code))
        await failed(raw, code)


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
)
async def test_codes_that_are_not_for_the_wire(url: str, code: int) -> None:
    async with opened(url) as raw:
        raw.send(CLOSE, reason(code))
        await failed(raw, 1002)


@pytest.mark.parametrize("text", [b"\xff", "Κόσμε".encode() + b"\xed\xa0\x80", b"\xce"])
async def test_a_reason_is_utf8(url: str, text: bytes) -> None:
    async with opened(url) as raw:
        raw.send(CLOSE, reason(1000) + text)
        await failed(raw, 1007)


async def test_a_close_of_ours_is_waited_for_no_longer_than_a_while(url: str) -> None:
    """It says why, and then ends the connection, whatever the peer does."""
    async with opened(url) as raw:
        raw.send(BINARY, b"")
        raw.send(TEXT, padded(25))
        await failed(raw, 1003)


@pytest.mark.parametrize(
    "half", [b"", client_frame(TEXT, padded(25))[:9]], ids=["nothing", "half a frame"]
)
async def test_who_sends_nothing_more_is_let_go(url: str, half: bytes) -> None:
    """A half-close (FIN) without a close frame, between frames and within one."""
    async with opened(url) as raw:
        raw.send(TEXT, padded(25))
        raw.write(half)
        raw.half_close()
        await answered(raw)
        assert {frame.opcode for frame in await raw.rest()} <= {CLOSE}
