"""One connection's life: from its ``hello`` to its close.

Three things go on at once: reading frames, writing sends, and, now and then, fetching
what the socket did not carry. Acks are never behind a consumer that does not take its
messages: a consumer that awaits ``send`` in its loop would otherwise wait for itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Final

import aiohttp
import msgspec

from tests.integration.support.old_client.client.catchup import CatchUp
from tests.integration.support.old_client.client.context import Closed, Context, Pending
from tests.integration.support.old_client.client.errors import FieldError, SendRefused, TokenUnavailable
from tests.integration.support.old_client.client.events import (
    CaughtUp,
    Connected,
    CursorMoved,
    MessageReceived,
    Reset,
    Sent,
    StoredUpTo,
    decode_received,
)
from tests.integration.support.old_client.client.http import TRIES
from tests.integration.support.old_client.client.outbox import Entry
from tests.integration.support.old_client.core.ids import format_id, parse_id
from tests.integration.support.old_client.wire import protocol as wire
from tests.integration.support.old_client.wire.close_codes import HEARTBEAT_MISSED, TOO_BIG, UNSUPPORTED_DATA
from tests.integration.support.old_client.wire.cursor import parse_cursor

ABNORMAL: Final = 1006
"""What RFC 6455 §7.1.5 calls a connection that ended without a close frame."""
HELLO_SECONDS: Final = 10.0
DROP_SECONDS: Final = 1.0
_PASSING: Final = frozenset(
    {"log_unavailable", "store_unavailable", "unavailable", "too_many_requests"}
)
_FAULT: Final = "internal_error"
"""The server's fault: tried again as an answer of 500 would be, but not for ever."""
_AUTH_REF: Final = "auth"
_logger = logging.getLogger("chatsvc.client")


class _Type(msgspec.Struct):
    type: str = ""


_decode_type = msgspec.json.Decoder(_Type).decode
_decode_hello = msgspec.json.Decoder(wire.Hello).decode
_decode_frame = msgspec.json.Decoder(wire.ServerFrame).decode
_KNOWN: Final = frozenset(
    {"caught_up", "cursor", "ack", "stored", "error", "auth_expiring", "gap", "reset"}
)


class Session:
    """Runs one open WebSocket.

    Args:
        socket: as ``ws_connect`` returned it, with ``decode_text=False``.
        context: what outlives the connection.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool], context: Context) -> None:
        self._socket = socket
        self._context = context
        self._inbox = context.inbox
        self._outbox = context.outbox
        self._user = ""
        self._silence = HELLO_SECONDS
        self._resume_writing_at = 0.0
        self._caught_up: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._catch_up = CatchUp(
            context.api,
            context.inbox,
            wanted=self._wanted,
            room=self._room,
            backoff=context.backoff,
        )

    async def greet(self) -> wire.Hello | Closed:
        """Wait for ``hello``, and stand where it says."""
        data = await self._receive()
        if isinstance(data, Closed):
            return data
        try:
            hello = _decode_hello(data)
            cursor = parse_cursor(hello.cursor)
        except msgspec.DecodeError as exc:
            return Closed(ABNORMAL, f"the first frame is not a hello: {exc}")
        if cursor is None:
            return Closed(ABNORMAL, "the hello has no cursor that can be read")
        self._user = hello.user
        self._silence = 2.5 * hello.heartbeat_seconds
        inbox = self._inbox
        reset = inbox.epoch is not None and inbox.epoch != hello.epoch
        if inbox.epoch is None:
            inbox.move_to(hello.epoch, cursor.id)
        elif reset:
            inbox.move_to(hello.epoch, inbox.position)
        inbox.put_status(Connected(hello, str(inbox.cursor)))
        if reset:
            inbox.put_status(Reset(hello.epoch, format_id(inbox.position)))
        return hello

    async def run(self) -> Closed:
        """Go on until the connection ends, in whatever way."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._start(self._write())
            try:
                closed = await self._read()
            finally:
                for task in self._tasks:
                    task.cancel()
        if closed.code == TOO_BIG:
            self._blame_largest()
        return closed._replace(lasted=loop.time() - since)

    # Reading

    async def _read(self) -> Closed:
        while True:
            data = await self._receive()
            if isinstance(data, Closed):
                return data
            try:
                await self._handle(data)
            except (msgspec.DecodeError, ValueError) as exc:
                await self._drop()
                return Closed(ABNORMAL, f"a frame that cannot be read: {exc}")

    async def _receive(self) -> bytes | Closed:
        socket = self._socket
        try:
            message = await socket.receive(self._silence)  # pings count: each starts it anew
        except TimeoutError:
            await self._drop()
            return Closed(HEARTBEAT_MISSED, f"nothing came for {self._silence:g} s")
        if message.type is aiohttp.WSMsgType.TEXT:
            return bytes(message.data)
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.close(code=UNSUPPORTED_DATA)
            return Closed(ABNORMAL, "a binary frame")
        if message.type is aiohttp.WSMsgType.CLOSE:
            return Closed(int(message.data), message.extra or "")
        if message.type is aiohttp.WSMsgType.ERROR:
            return Closed(ABNORMAL, f"broken WebSocket frame: {message.data}")
        return Closed(ABNORMAL, "the connection was lost")

    async def _handle(self, data: bytes) -> None:
        kind = _decode_type(data).type
        if kind == "message":
            await self._take(data)
        elif kind in _KNOWN:  # others are of a newer protocol, and no loss
            match _decode_frame(data):
                case wire.Ack() as ack:
                    self._acknowledged(ack)
                case wire.Stored(up_to=message_id):
                    self._inbox.put_status(StoredUpTo(message_id))
                case wire.Error() as error:
                    self._refused(error)
                case wire.CaughtUp(cursor=cursor):
                    self._reached(cursor)
                case wire.CursorMoved(cursor=cursor):
                    self._moved(cursor)
                case wire.Gap() as gap:
                    await self._missing(parse_id(gap.from_), parse_id(gap.to))
                case wire.Reset() as reset:
                    self._reset(reset)
                case wire.AuthExpiring():
                    self._start(self._renew())

    async def _take(self, data: bytes) -> None:
        message = decode_received(data, self._inbox.epoch or "")
        message_id = parse_id(message.id)
        if not self._catch_up.active:
            # As long as nobody waits for an ack the socket may wait for the consumer.
            while self._inbox.full and not self._outbox.in_flight:
                await self._wait_for_consumer()
            if not self._inbox.full:
                self._inbox.put_message(message)
                return
            if message_id <= self._inbox.position:
                return
        self._fetch_up_to(message_id)

    async def _room(self) -> None:
        while self._inbox.full:
            await self._inbox.wait_changed()

    async def _wait_for_consumer(self) -> None:
        # Pings are not answered while nothing is read: say unasked that we are here.
        await self._inbox.wait_changed(self._silence / 5)
        if self._inbox.full and not self._outbox.in_flight:
            try:
                await self._socket.pong()
            except (ConnectionError, aiohttp.ClientError) as exc:
                _logger.debug("no pong on a lost connection: %s", exc)

    # Positions

    def _moved(self, text: str) -> None:
        cursor = parse_cursor(text)
        if cursor is None or cursor.epoch != self._inbox.epoch or self._catch_up.active:
            return
        if cursor.id > self._inbox.position:
            self._inbox.advance(cursor.id)
            self._inbox.put_status(CursorMoved(text))

    def _reached(self, text: str) -> None:
        if self._catch_up.active:
            self._caught_up = text  # what is being fetched comes before it
            return
        cursor = parse_cursor(text)
        if cursor is not None and cursor.epoch == self._inbox.epoch:
            self._inbox.advance(cursor.id)
        self._inbox.put_status(CaughtUp(str(self._inbox.cursor)))

    async def _missing(self, above: int, to: int) -> None:
        inbox = self._inbox
        if not self._catch_up.active:
            inbox.move_to(inbox.epoch or "", above)
        if self._context.fill_gaps:
            self._fetch_up_to(to)
        elif to > inbox.position:
            inbox.put_gap(format_id(inbox.position), format_id(to))
            inbox.advance(to)

    def _reset(self, reset: wire.Reset) -> None:
        above = parse_id(reset.from_)
        self._inbox.move_to(reset.epoch, min(self._inbox.position, above))
        self._inbox.put_status(Reset(reset.epoch, reset.from_))

    def _fetch_up_to(self, to: int) -> None:
        running = self._catch_up.active
        self._catch_up.extend(to)
        if not running:
            self._start(self._fetch())

    async def _fetch(self) -> None:
        await self._catch_up.run()
        if self._caught_up is not None:
            text, self._caught_up = self._caught_up, None
            self._reached(text)

    def _wanted(self, message: MessageReceived) -> bool:
        if message.sender != self._user:
            return True
        return self._context.echo and message.client_id not in self._context.own

    # Writing

    async def _write(self) -> None:
        outbox, changed = self._outbox, self._context.outbox_changed
        clock = asyncio.get_running_loop().time
        try:
            while True:
                changed.clear()
                paused = self._resume_writing_at - clock()
                entry = outbox.take() if paused <= 0 else None
                if entry is None:
                    await _wait(changed, paused if paused > 0 else None)
                elif entry.waiter.result.done():  # its caller went away
                    outbox.finish(entry.ref)
                else:
                    self._inbox.wake()
                    await self._socket.send_frame(entry.frame, aiohttp.WSMsgType.TEXT)
        except (ConnectionError, aiohttp.ClientError) as exc:
            _logger.debug("the connection ended while writing: %s", exc)  # the reader sees it too

    def _acknowledged(self, ack: wire.Ack) -> None:
        entry = self._outbox.finish(ack.ref)
        self._context.outbox_changed.set()
        if entry is not None and not entry.waiter.result.done():
            sent = Sent(ack.id, ack.created_at, entry.waiter.client_id, ack.duplicate)
            entry.waiter.result.set_result(sent)

    def _refused(self, error: wire.Error) -> None:
        if error.ref is None or error.ref == _AUTH_REF:
            _logger.warning("the server says: %s (%s)", error.detail, error.code)
            return
        if error.retry_after is not None or error.code in _PASSING or error.code == _FAULT:
            entry = self._try_later(error)
            if error.code != _FAULT or entry is None or entry.refusals < TRIES:
                self._context.outbox_changed.set()
                return
        entry = self._outbox.finish(error.ref)
        if entry is not None and not entry.waiter.result.done():
            entry.waiter.result.set_exception(_send_refused(error))
        self._context.outbox_changed.set()

    def _try_later(self, error: wire.Error) -> Entry[Pending] | None:
        entry = self._outbox.put_back(error.ref)
        if entry is None:
            return None
        wait = error.retry_after
        if wait is None:
            wait = random.random() * self._context.backoff.ceiling(entry.refusals - 1)
        until = asyncio.get_running_loop().time() + wait
        self._resume_writing_at = max(self._resume_writing_at, until)
        return entry

    def _blame_largest(self) -> None:
        """Closed for a frame too big: let it go, or every connection would end the same way."""
        entry = self._outbox.largest_in_flight()
        if entry is not None:
            self._outbox.finish(entry.ref)
            if not entry.waiter.result.done():
                entry.waiter.result.set_exception(
                    SendRefused("body_too_large", "the server closed the connection: too big")
                )

    async def _renew(self) -> None:
        """Send a fresh token before the old one ends."""
        tokens = self._context.tokens
        if not tokens.refreshable:
            _logger.warning("the token ends soon, and there is no other")
            return
        tokens.forget()
        try:
            frame = wire.Auth(token=await tokens.get(), ref=_AUTH_REF)
            await self._socket.send_frame(wire.encode_frame(frame), aiohttp.WSMsgType.TEXT)
        except TokenUnavailable as exc:
            _logger.warning("%s", exc)  # the server will close with 4002, and we ask again
        except (ConnectionError, aiohttp.ClientError) as exc:
            _logger.debug("the connection ended before the fresh token was sent: %s", exc)

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drop(self) -> None:
        # Nobody may be there to answer: no longer than it takes to say so.
        try:
            async with asyncio.timeout(DROP_SECONDS):
                await self._socket.close()
        except TimeoutError:
            _logger.debug("the connection was dropped without a closing handshake")


def _send_refused(error: wire.Error) -> SendRefused:
    fault = FieldError(
        pointer=error.pointer or "", code=error.code, detail=error.detail, limit=error.limit
    )
    faults = (fault,) if error.pointer is not None else ()
    return SendRefused(error.code, error.detail, errors=faults, first_id=error.id)


async def _wait(event: asyncio.Event, timeout: float | None) -> None:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return
