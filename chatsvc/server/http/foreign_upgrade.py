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

from typing import Any, Final

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_request import BaseRequest

from chatsvc.server.aiohttp_internals import OpenRequestHandler, head_of

_HEAD_END: Final = b"\r\n\r\n"


class UnsupportedUpgradeHandler(OpenRequestHandler):
    """A connection that closes when a request after an upgrade may have been lost."""

    __slots__ = ("_foreign_body", "_lost")

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._foreign_body: StreamReader | None = None
        self._lost = False

    def data_received(self, data: bytes) -> None:
        """Parse the data, and check whether all of it was consumed."""
        body, count = self._foreign_body, self.request_count
        fed = 0 if body is None else body.total_bytes
        super().data_received(data)
        if body is not None:
            self._watch(body, body.total_bytes - fed == len(data))
        if self.request_count != count and self.queued:
            message, payload = self.queued[-1]
            if isinstance(message, RawRequestMessage) and _is_foreign(message):
                alone = self.request_count == count + 1
                head = data.find(_HEAD_END) + len(_HEAD_END)
                if alone and head >= len(_HEAD_END) and _lists_websocket(message, payload):
                    self.upgraded = True
                    self.tail = data[head:]
                else:
                    self._watch(payload, alone and head + payload.total_bytes == len(data))

    def _watch(self, body: StreamReader, all_taken: bool) -> None:
        self._lost = not all_taken
        self._foreign_body = None if self._lost or body.is_eof() else body

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Close with the response where bytes were lost or may still be lost."""
        unsure = self._lost or self._foreign_body is not None
        if unsure and _is_foreign(head_of(request)):
            resp.force_close()
        return await super().finish_response(request, resp, start_time)


def _is_foreign(message: RawRequestMessage) -> bool:
    return message.upgrade and message.headers.get("Upgrade", "").lower() != "websocket"


def _lists_websocket(message: RawRequestMessage, payload: StreamReader) -> bool:
    lines = message.headers.getall("Upgrade", [])
    names = {name.strip().lower() for line in lines for name in line.split(",")}
    return "websocket" in names and payload.is_eof() and not payload.total_bytes
