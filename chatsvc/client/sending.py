"""Writing the sends of the outbox to one socket, and what the server answers to them."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Final

import aiohttp

from chatsvc.client.context import Context, Pending
from chatsvc.client.errors import FieldError, SendRefused
from chatsvc.client.events import Sent
from chatsvc.client.http import TRIES
from chatsvc.client.outbox import Entry
from chatsvc.wire import protocol as wire
from chatsvc.wire.error_codes import ERROR_CODES, codes_of

_PASSING: Final = frozenset(row.code for row in codes_of(ERROR_CODES, 429, 503))
_SERVER_ERROR: Final = "internal_error"
"""The server's fault: tried again as an answer of 500 would be, but not for ever."""
_logger = logging.getLogger("chatsvc.client")


class Sending:
    """The sends of one connection.

    Args:
        socket: an open WebSocket.
        context: what outlives the connection; its outbox is emptied.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool], context: Context) -> None:
        self._socket = socket
        self._context = context
        self._outbox = context.outbox
        self._resume_at = -math.inf

    async def run(self) -> None:
        """Write what waits, in order, until the connection ends."""
        outbox, changed = self._outbox, self._context.outbox_changed
        clock = asyncio.get_running_loop().time
        try:
            while True:
                changed.clear()
                paused = self._resume_at - clock()
                if paused > 0:
                    await _wait(changed, paused)
                    continue
                entry = outbox.take()
                if entry is None:
                    await changed.wait()
                elif entry.waiter.result.done():  # its caller went away
                    outbox.finish(entry.ref)
                else:
                    self._context.inbox.wake()
                    await self._socket.send_frame(entry.frame, aiohttp.WSMsgType.TEXT)
        except (ConnectionError, aiohttp.ClientError) as exc:
            _logger.debug("the connection ended while writing: %s", exc)  # the reader sees it too

    def acknowledged(self, ack: wire.Ack) -> None:
        """Return the ack to whoever waits for it."""
        entry = self._outbox.finish(ack.ref)
        self._context.outbox_changed.set()
        if entry is None:
            return
        waiter = entry.waiter
        self._context.own.accepted(ack.id)
        if not waiter.result.done():
            sent = Sent(ack.id, ack.created_at, waiter.client_id, ack.duplicate)
            waiter.result.set_result(sent)

    def refused(self, error: wire.Error) -> None:
        """Send it again later where that can help; otherwise raise it at whoever waits."""
        if error.retry_after is not None or error.code in _PASSING or error.code == _SERVER_ERROR:
            entry = self._try_later(error)
            if error.code != _SERVER_ERROR or entry is None or entry.refusals < TRIES:
                self._context.outbox_changed.set()
                return
        entry = self._outbox.finish(error.ref)
        if entry is not None and not entry.waiter.result.done():
            entry.waiter.result.set_exception(_send_refused(error))
        self._context.outbox_changed.set()

    def fail_largest(self) -> None:
        """Fail the longest send after a close for a frame too big, or it would close the next."""
        entry = self._outbox.largest_in_flight()
        if entry is not None:
            self._outbox.finish(entry.ref)
            if not entry.waiter.result.done():
                entry.waiter.result.set_exception(
                    SendRefused("body_too_large", "the message must be smaller: it was too big")
                )

    def _try_later(self, error: wire.Error) -> Entry[Pending] | None:
        entry = self._outbox.put_back(error.ref)
        if entry is None:
            return None
        context = self._context
        wait = context.backoff.wait(entry.refusals - 1, context.draw(), error.retry_after)
        until = asyncio.get_running_loop().time() + wait
        self._resume_at = max(self._resume_at, until)
        return entry


def _send_refused(error: wire.Error) -> SendRefused:
    errors = []
    if error.pointer is not None:
        errors.append(
            FieldError(
                pointer=error.pointer, code=error.code, detail=error.detail, limit=error.limit
            )
        )
    return SendRefused(error.code, error.detail, errors=errors, first_id=error.id)


async def _wait(event: asyncio.Event, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return
