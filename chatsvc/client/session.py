"""One connection, from its ``hello`` to its close.

Three things go on at once: reading frames, writing sends, and, now and then, fetching
what the socket did not carry. Acks never wait for a consumer that does not take its
messages: a consumer that awaits ``send`` in its loop would otherwise wait for itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final

import aiohttp
import msgspec

from chatsvc.client.catchup import CatchUp
from chatsvc.client.context import Closed, Context
from chatsvc.client.errors import TokenUnavailable
from chatsvc.client.events import (
    CaughtUp,
    ChangeReceived,
    Connected,
    CursorMoved,
    MessageReceived,
    Received,
    Reset,
    StoredUpTo,
)
from chatsvc.client.frames import (
    DEFAULT_HEARTBEAT,
    OtherRecord,
    decode_frame,
    read_cursor,
    read_hello,
)
from chatsvc.client.handshake import ABNORMAL
from chatsvc.client.kinds import FEATURE
from chatsvc.client.missed import missed_source
from chatsvc.client.sending import Sending
from chatsvc.core.ids import format_id, parse_id
from chatsvc.wire import protocol as wire
from chatsvc.wire.close_codes import HEARTBEAT_MISSED, TOO_BIG, UNSUPPORTED_DATA

HELLO_SECONDS: Final = 10.0
DROP_SECONDS: Final = 1.0
_NO_STATUS: Final = 1005
_logger = logging.getLogger("chatsvc.client")


class Session:
    """Runs one open WebSocket.

    Args:
        socket: as ``ws_connect`` returned it, with ``decode_text=False``.
        context: what outlives the connection.
        token: what the connection was opened with.
    """

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse[bool], context: Context, token: str
    ) -> None:
        self._socket = socket
        self._context = context
        self._token = token
        self._inbox = context.inbox
        self._user = ""
        self._epoch = ""  # of the log that this connection carries; the inbox's may be older
        self._silence = HELLO_SECONDS
        self._caught_up: str | None = None
        self._renewing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = Sending(socket, context)
        self._catch_up = CatchUp(
            missed_source(context.api, context.kinds),
            context.inbox,
            wanted=self._wanted,
            wait_for_space=self._wait_for_space,
            backoff=context.backoff,
            draw=context.draw,
        )

    @property
    def token(self) -> str:
        """The token that the connection uses: the first, or the last that renewed it."""
        return self._token

    async def start(self) -> wire.Hello | Closed:
        """Wait for ``hello``."""
        data = await self._receive()
        if isinstance(data, Closed):
            return data
        try:
            hello = read_hello(data)
        except msgspec.DecodeError as exc:
            return Closed(ABNORMAL, f"the first frame must be a hello: {exc}")
        cursor = read_cursor(hello.cursor)
        if cursor is None:
            return Closed(ABNORMAL, "the cursor of hello must be epoch.id")
        if not self._context.kinds.messages_only and FEATURE not in hello.features:
            reason = f"to ask for kinds, the server must have the feature {FEATURE}"
            return Closed(ABNORMAL, reason, final=True)
        self._context.api.clock.observe_time(hello.server_time)
        self._user = hello.user
        self._epoch = hello.epoch
        heartbeat = hello.heartbeat_seconds
        self._silence = 2.5 * (heartbeat if heartbeat > 0 else DEFAULT_HEARTBEAT)
        inbox = self._inbox
        if inbox.epoch is None:
            inbox.move_to(hello.epoch, cursor.id)
        # Where the epoch is another one, the position keeps the old one until the server
        # says from where on: resuming under the new epoch could pass what it holds below.
        inbox.put_status(Connected(hello, str(inbox.cursor)))
        return hello

    async def run(self) -> Closed:
        """Read and write until the connection ends, in whatever way."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._start(self._sending.run())
            try:
                closed = await self._read()
            finally:
                for task in self._tasks:
                    task.cancel()
        if closed.code == TOO_BIG:
            self._sending.fail_largest()
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
                return Closed(ABNORMAL, f"a frame cannot be read: {exc}")

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
            return Closed(int(message.data) or _NO_STATUS, message.extra or "")
        if message.type is aiohttp.WSMsgType.ERROR:
            return Closed(ABNORMAL, f"broken WebSocket frame: {message.data}")
        return Closed(ABNORMAL, "the connection was lost")

    async def _handle(self, data: bytes) -> None:
        match decode_frame(data, self._epoch, self._context.kinds):
            case MessageReceived() | ChangeReceived() as record:
                await self._take(record)
            case OtherRecord(position=position):
                self._pass_over(position)
            case wire.Ack() as ack:
                self._sending.acknowledged(ack)
            case wire.Stored(up_to=message_id):
                self._inbox.put_status(StoredUpTo(message_id))
            case wire.Error() as error:
                if error.ref is None:  # not of a send
                    _logger.warning("the server says: %s (%s)", error.detail, error.code)
                else:
                    self._sending.refused(error)
            case wire.CaughtUp(cursor=cursor):
                self._reached(cursor)
            case wire.CursorMoved(cursor=cursor):
                self._moved(cursor)
            case wire.Gap() as gap:
                self._announced(parse_id(gap.from_), parse_id(gap.to))
            case wire.Reset() as reset:
                self._reset(reset.epoch, parse_id(reset.from_))
            case wire.AuthExpiring():
                self._expiring()

    async def _take(self, record: Received) -> None:
        record_id = parse_id(record.id)
        if not self._wanted(record):
            self._pass_over(record_id)
            return
        self._enter(record_id - 1)
        if not self._catch_up.active:
            # As long as nobody waits for an ack the socket may wait for the consumer.
            while self._inbox.full and not self._context.outbox.in_flight:
                await self._wait_for_consumer()
            if not self._inbox.full:
                self._inbox.put_record(record)
                return
        self._fetch_up_to(record_id)

    async def _wait_for_space(self) -> None:
        while self._inbox.full:
            await self._inbox.wait_changed()

    async def _wait_for_consumer(self) -> None:
        # Pings are not answered while nothing is read: say unasked that we are here.
        await self._inbox.wait_changed(self._silence / 5)
        if self._inbox.full and not self._context.outbox.in_flight:
            try:
                await self._socket.pong()
            except (ConnectionError, aiohttp.ClientError) as exc:
                _logger.debug("no pong on a lost connection: %s", exc)

    # Positions

    def _enter(self, position: int) -> None:
        """Leave the epoch that the position is of, where the connection carries another.

        Args:
            position: from where on the server has said what it holds.
        """
        inbox = self._inbox
        if inbox.epoch != self._epoch:
            inbox.move_to(self._epoch, min(inbox.position, position))
            inbox.put_status(Reset(self._epoch, format_id(inbox.position)))

    def _pass_over(self, position: int) -> None:
        """A record that is not for the consumer: nothing is missing up to it."""
        if self._catch_up.active:
            return  # what is being fetched comes before it
        self._enter(position - 1)
        if position > self._inbox.position:
            self._inbox.advance(position)
            self._inbox.put_status(CursorMoved(str(self._inbox.cursor)))

    def _moved(self, text: str) -> None:
        cursor = read_cursor(text)
        if cursor is not None and cursor.epoch == self._epoch:
            self._pass_over(cursor.id)

    def _reached(self, text: str) -> None:
        if self._catch_up.active:
            self._caught_up = text  # what is being fetched comes before it
            return
        cursor = read_cursor(text)
        if cursor is not None and cursor.epoch == self._epoch:
            self._enter(cursor.id)
            self._inbox.advance(cursor.id)
        self._inbox.put_status(CaughtUp(str(self._inbox.cursor)))

    def _announced(self, above: int, to: int) -> None:
        """A gap: what is above ``above`` up to ``to`` was not sent, and all before it was."""
        inbox = self._inbox
        self._enter(above)
        if not self._catch_up.active:
            if to < inbox.position:  # the log ends below: what comes next has lower ids
                inbox.move_to(self._epoch, min(above, to))
            inbox.advance(min(above, to))
        if to <= inbox.position:
            return
        if self._context.fill_gaps:
            self._fetch_up_to(to)
        else:
            inbox.put_gap(format_id(inbox.position), format_id(to))
            inbox.advance(to)

    def _reset(self, epoch: str, above: int) -> None:
        """The log began a new epoch: what is above ``above`` is to be fetched anew."""
        inbox = self._inbox
        self._epoch = epoch
        inbox.move_to(epoch, min(inbox.position, above))
        inbox.put_status(Reset(epoch, format_id(inbox.position)))
        if self._context.fill_gaps or self._catch_up.active:
            running = self._catch_up.active
            self._catch_up.restart()
            if not running:
                self._start(self._fetch())

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

    def _wanted(self, record: Received) -> bool:
        """Whether it is for the consumer: not a message that this client sent itself.

        A change is, whoever caused it: it says what the state is now.
        """
        if isinstance(record, ChangeReceived) or record.sender != self._user:
            return True
        return self._context.echo and record not in self._context.own

    # The token

    def _expiring(self) -> None:
        if not self._context.tokens.refreshable:
            _logger.warning("the token ends soon, and there is no other")
        elif not self._renewing:
            self._renewing = True
            self._start(self._renew())

    async def _renew(self) -> None:
        """Send a fresh token before the old one ends."""
        tokens = self._context.tokens
        tokens.forget(self._token)
        try:
            token = await tokens.get()
            frame = wire.encode_frame(wire.Auth(token=token))
            await self._socket.send_frame(frame, aiohttp.WSMsgType.TEXT)
            self._token = token
        except TokenUnavailable as exc:
            _logger.warning("%s", exc)  # the server will close with 4002, and we ask again
        except (ConnectionError, aiohttp.ClientError) as exc:
            _logger.debug("the connection ended before the fresh token was sent: %s", exc)
        finally:
            self._renewing = False

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
