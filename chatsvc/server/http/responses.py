"""Responses whose bytes are ready: one head, one body, one write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

_JOIN_BELOW: Final = 64 * 1024
_JSON: Final = "application/json"
_START: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
_LENGTHLESS: Final = frozenset({204, 304})  # RFC 9110 §8.6
_FIXED: Final = "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
_JSON_START: Final = {
    status: f"{start}Content-Type: {_JSON}\r\n{_FIXED}" for status, start in _START.items()
}

_date: tuple[int, str] = (0, "")


def http_date() -> str:
    """Return the time in the format of RFC 9110 §5.6.7; computed once per second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


def header_lines(headers: Mapping[str, str]) -> str:
    """Return the fields as lines. Control characters in a value become spaces.

    So a value from outside can never begin a new line.
    """
    return "".join([f"{name}: {one_line(value)}\r\n" for name, value in headers.items()])


def one_line(value: str) -> str:
    """Return the value of a header field, with spaces for control characters and beyond ASCII."""
    if value.isprintable() and value.isascii():
        return value
    return "".join(char if " " <= char <= "~" else " " for char in value)


class ReadyResponse(web.StreamResponse):
    """A response that is written at once, without aiohttp's own construction of heads.

    Args:
        body: the whole body; ``None`` for a response to HEAD without one, which then has no
            Content-Length (RFC 9110 §9.3.2).
        lines: further header fields, as lines that end in CRLF; set before it is sent.
        fixed: the header fields of every response, where they differ from those of JSON.
    """

    def __init__(
        self,
        status: int,
        body: bytes | None,
        lines: str = "",
        content_type: str = _JSON,
        fixed: str = _FIXED,
    ) -> None:
        super().__init__(status=status)
        self.ready_body = body
        self.lines = lines
        self._written = False
        self._keep: bool | None = None
        self._has_length = status not in _LENGTHLESS
        self._start_lines = (
            _JSON_START[status]
            if content_type is _JSON
            else f"{_START[status]}Content-Type: {content_type}\r\n{fixed}"
        )

    @property
    def is_large(self) -> bool:
        """Whether the body may be more than the kernel accepts at once."""
        return self.ready_body is not None and len(self.ready_body) >= _JOIN_BELOW

    @property
    def prepared(self) -> bool:
        """Whether it was written."""
        return self._written

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection is kept after it; ``None`` until it is written."""
        return self._keep

    def force_close(self) -> None:
        """Close the connection after it."""
        self._keep = False

    def begin(self, request: BaseRequest) -> bool | None:
        """Mark it as written.

        Returns:
            Whether the connection is kept after it; ``None`` if it was written before.
        """
        if self._written:
            return None
        self._written = True
        if self._keep is None:
            self._keep = request.keep_alive
        return self._keep

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body; the response to HEAD has only the head."""
        keep = self.begin(request)
        if keep is None:
            return None
        body = self.ready_body
        head = self.head(request, keep, body)
        if body is None:
            body = b""
        writer = request.writer
        if request.method == "HEAD":
            await writer.write(head)
        elif len(body) < _JOIN_BELOW:
            await writer.write(head + body)
        else:
            await writer.write(head)
            await writer.write(body)
        await writer.write_eof()
        return writer

    def head(self, request: BaseRequest, keep: bool, body: bytes | None) -> bytes:
        """Return the head, with the ``Content-Length`` of the body if there is one.

        Args:
            keep: whether the connection is kept for further requests.
        """
        lines = self.lines
        if not keep:
            lines += "Connection: close\r\n"
        elif request.version != HttpVersion11 and request.version == HttpVersion10:
            lines += "Connection: keep-alive\r\n"
        length = ""
        if body is not None and self._has_length:
            length = f"Content-Length: {len(body)}\r\n"
        return f"{self._start_lines}{length}Date: {http_date()}\r\n{lines}\r\n".encode("latin-1")

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: everything is written already."""


class NoResponse(web.StreamResponse):
    """A response that is not sent: the client has disconnected. The connection ends."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Write nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: no response was begun."""
