"""Bodies that are read and written in parts, of operations that declare them."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from chatsvc.api.body import Parts, StreamedBody, StreamedReply
from chatsvc.core.errors import RequestError, UnsupportedMedia
from chatsvc.delivery.transports import reset
from chatsvc.server.errors import ClientDisconnected, RequestTimeout
from chatsvc.server.http.connection import BoundedConnection
from chatsvc.server.http.decoding import body_errors, check_encoding, too_large, wrong_media
from chatsvc.server.http.responses import ReadyResponse, one_line

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

    Chunked, or with its ``Content-Length``; to a client of HTTP/1.0 up to the end of the
    connection. Where making a part fails, where the parts come to another length than was said,
    and where the server stops, the connection is aborted, so that the client does not take what
    it has for the whole.

    Args:
        body: closed in any case.
        lines: further header fields, as lines that end in CRLF.
    """

    def __init__(self, status: int, body: StreamedReply, lines: str) -> None:
        super().__init__(status, None, lines, one_line(body.media_type))
        self._parts = body.parts
        self._length = body.length

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body; the response to HEAD has only the head."""
        try:
            return await self._write(request)
        finally:
            await close_parts(self._parts)

    async def _write(self, request: BaseRequest) -> AbstractStreamWriter | None:
        has_body = self._has_length  # of its status
        chunked = has_body and self._length is None and request.version == HttpVersion11
        if chunked:
            self.lines += "Transfer-Encoding: chunked\r\n"
        elif has_body and self._length is None:
            self.force_close()  # the end of the connection is the end of the body
        elif has_body:
            self.lines += f"Content-Length: {self._length}\r\n"
        keep = self.begin(request)
        if keep is None:
            return None
        writer = request.writer
        await writer.write(self.head(request, keep, None))
        if request.method == "HEAD" or not has_body or await self._write_parts(request, chunked):
            await writer.write_eof()
        return writer

    async def _write_parts(self, request: BaseRequest, chunked: bool) -> bool:
        """Write the body; return False if the connection was aborted instead."""
        left, unsent = self._length, 0
        transport = request.transport  # kept: a server that stops takes it from the request
        try:
            while (part := await self._next_part()) is not None:
                if transport is not None and transport.get_write_buffer_size() < unsent:
                    _note_progress(request)
                if left is not None:
                    left -= len(part)
                    if left < 0:
                        raise _WrongLength(f"the parts have more than {self._length} bytes")
                await request.writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                await request.writer.drain()
                unsent = 0 if transport is None else transport.get_write_buffer_size()
            if left:
                raise _WrongLength(f"the parts have {left} bytes less than {self._length}")
        except (_SourceFailed, _WrongLength) as exc:
            cause = exc.__cause__ or exc
            # What the client did wrong with a body that is sent back to it is no error here.
            if not isinstance(cause, RequestError | ClientDisconnected):
                _log.error("response_failed", path=request.path, exc_info=cause)
            _abort(transport)
            return False
        except asyncio.CancelledError:
            _abort(transport)
            raise
        if chunked:
            await request.writer.write(b"0\r\n\r\n")
        return True

    async def _next_part(self) -> bytes | None:
        """Return the next part that is not empty; ``None`` behind the last.

        Raises:
            _SourceFailed: what the feature's iterator raised, which is no error of the client's
                connection whatever its type.
        """
        try:
            async for part in self._parts:
                if part:
                    return part
        except Exception as exc:
            raise _SourceFailed from exc
        return None


class _SourceFailed(Exception):
    """The iterator of a body raised; its cause is what."""


class _WrongLength(Exception):
    """The parts of a body do not come to the length that was said."""


def _note_progress(request: BaseRequest) -> None:
    """Tell the watch over stalled connections that the client took some of what was sent."""
    if isinstance(request.protocol, BoundedConnection):
        request.protocol.answers += 1


def _abort(transport: asyncio.Transport | None) -> None:
    """Reset the connection: its plain end would be that of the body to a client of HTTP/1.0."""
    if transport is not None:
        reset(transport)


async def close_parts(parts: Parts) -> None:
    """Close an iterator of parts, if it can be closed."""
    close = getattr(parts, "aclose", None)
    if close is not None:
        await close()


async def streamed_response(status: int, body: StreamedReply, lines: str) -> StreamedResponse:
    """Return the response, or close the parts where it cannot be made."""
    try:
        return StreamedResponse(status, body, lines)
    except Exception:
        await close_parts(body.parts)
        raise
