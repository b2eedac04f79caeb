"""Bodies that are read and written in parts, of operations that declare them."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from chatsvc.api.body import Parts, StreamedBody
from chatsvc.core.errors import UnsupportedMedia
from chatsvc.server.aiohttp_internals import begin_response
from chatsvc.server.errors import RequestTimeout
from chatsvc.server.http.connection import BoundedConnection
from chatsvc.server.http.decoding import body_errors, check_encoding, too_large, wrong_media
from chatsvc.server.http.responses import ReadyResponse

PART_SECONDS: Final = 30.0
"""The time limit for the next part of a body, after the one before."""

_log = structlog.get_logger("chatsvc.http")


def check_streamed(request: web.BaseRequest, body: StreamedBody) -> None:
    """Check the header fields of a request whose body is read in parts.

    Raises:
        UnsupportedMedia: it is compressed, or its ``Content-Type`` is none of the body's.
        TooLarge: its ``Content-Length`` exceeds the bound.
    """
    check_encoding(request)
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in body.media_types and "*/*" not in body.media_types:
        raise _media(body)
    length = request.content_length
    if length is not None and length > body.max_bytes:
        raise too_large(body.max_bytes)


def _media(body: StreamedBody) -> UnsupportedMedia:
    detail = f"Content-Type must be one of {', '.join(body.media_types)}"
    return wrong_media("/Content-Type", "unsupported_media_type", detail)


async def read_parts(request: web.Request, body: StreamedBody) -> Parts:
    """Return the parts of a request's body as they arrive.

    Raises, while they are read:
        TooLarge: they exceed the bound.
        RequestTimeout: the next did not arrive within :data:`PART_SECONDS`.
        Malformed: its chunks violate RFC 9112.
        ClientDisconnected: the connection was lost.
    """
    size = 0
    while True:
        with body_errors():
            try:
                async with asyncio.timeout(PART_SECONDS):
                    part = await request.content.readany()
            except TimeoutError:
                detail = f"the next part of the body must arrive within {PART_SECONDS:g} seconds"
                raise RequestTimeout(detail) from None
        if not part:
            return
        size += len(part)
        if size > body.max_bytes:
            raise too_large(body.max_bytes)
        yield part


class StreamedResponse(ReadyResponse):
    """A response whose body is written in parts, each once the one before is on its way.

    Chunked, or with the ``Content-Length`` of ``lines``; to a client of HTTP/1.0 until the
    connection ends. If making a part fails the connection is aborted, so that the client does
    not take what it has for the whole.

    Args:
        parts: the body; closed in any case.
        lines: further header fields, as lines that end in CRLF.
    """

    def __init__(self, status: int, parts: Parts, lines: str, content_type: str) -> None:
        super().__init__(status, None, lines, content_type)
        self._parts = parts
        self._length_given = "content-length:" in lines.lower()

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body; the response to HEAD has only the head."""
        chunked = not self._length_given and request.version == HttpVersion11
        if chunked:
            self.lines += "Transfer-Encoding: chunked\r\n"
        elif not self._length_given:
            self.force_close()  # the end of the connection is the end of the body
        keep = begin_response(self, request)
        if keep is None:
            return None
        writer = request.writer
        try:
            await writer.write(self.head(request, keep, None))
            if request.method != "HEAD":
                await self._write_parts(request, chunked)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 -- whatever the feature's iterator raises
            _log.exception("response_failed", path=request.path)
            if request.transport is not None:
                request.transport.abort()
            return writer
        finally:
            close = getattr(self._parts, "aclose", None)
            if close is not None:
                await close()
        await writer.write_eof()
        return writer

    async def _write_parts(self, request: BaseRequest, chunked: bool) -> None:
        writer, connection = request.writer, request.protocol
        async for part in self._parts:
            await writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            await writer.drain()
            if isinstance(connection, BoundedConnection):
                connection.answers += 1  # progress, for the watch over stalled connections
        if chunked:
            await writer.write(b"0\r\n\r\n")
