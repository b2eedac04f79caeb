"""Requests that ask to upgrade to an unsupported protocol, such as ``Upgrade: h2c``.

They are answered in HTTP/1.1, as RFC 9110 §7.8 allows. aiohttp's parser discards the bytes
after such a request in the same read: the next request, or the first part of one, whose
second part would then be parsed as a separate request. So where that may have happened, the
connection is closed with the response, and a client sends unanswered requests again (RFC 9112
§9.3.2). Where no bytes followed, the connection is kept: some clients send the header with
every request.

A proxy may add a protocol to a WebSocket handshake: ``Upgrade: h2c, websocket``. aiohttp
recognises only ``websocket`` alone, so the bytes after such a handshake are restored here.
"""

from __future__ import annotations

from typing import Final

from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from chatsvc.server.aiohttp_internals import OpenRequestHandler

_HEAD_END: Final = b"\r\n\r\n"


class ForeignUpgrade:
    """What followed a request that asks for another protocol.

    ``unsure``: bytes behind it were lost, or may still be, so the connection must be closed
    with its response.

    Args:
        body: of the request.
        all_taken: whether the read that ended its head had nothing else than head and body.
    """

    __slots__ = ("_body", "_fed", "_lost")

    def __init__(self, body: StreamReader, *, all_taken: bool) -> None:
        self._lost = not all_taken
        self._body = None if self._lost or body.is_eof() else body
        self._fed = body.total_bytes

    @property
    def unsure(self) -> bool:
        """See the class."""
        return self._lost or self._body is not None

    def received(self, size: int) -> None:
        """Take note of a further read of so many bytes, which was parsed."""
        body = self._body
        if body is None:
            return
        self._lost = body.total_bytes - self._fed != size
        self._fed = body.total_bytes
        if self._lost or body.is_eof():
            self._body = None


def after_upgrade(
    handler: OpenRequestHandler, requests: int, before: bytes, data: bytes
) -> ForeignUpgrade | None:
    """Look at the last head of a read, which asks for an upgrade.

    Args:
        handler: has parsed the read.
        requests: the number of heads in it.
        before: the last bytes of the earlier reads, if the head began in one of them.
        data: the read.

    Returns:
        What follows it; ``None`` if it is a WebSocket's handshake, whose early bytes are
        restored where aiohttp did not recognise it.
    """
    message, body = handler.queued[-1]
    assert isinstance(message, RawRequestMessage)
    if not is_foreign(message):
        return None
    alone = requests == 1
    head = (before + data).find(_HEAD_END) + len(_HEAD_END) - len(before)
    if alone and head > 0 and _lists_websocket(message, body):
        handler.upgraded = True
        handler.tail = data[head:]
        return None
    return ForeignUpgrade(body, all_taken=alone and head + body.total_bytes == len(data))


def is_foreign(message: RawRequestMessage) -> bool:
    """Return whether a head asks for another protocol than WebSocket alone."""
    return message.upgrade and message.headers.get("Upgrade", "").lower() != "websocket"


def _lists_websocket(message: RawRequestMessage, payload: StreamReader) -> bool:
    lines = message.headers.getall("Upgrade", [])
    names = {name.strip().lower() for line in lines for name in line.split(",")}
    return "websocket" in names and payload.is_eof() and not payload.total_bytes
