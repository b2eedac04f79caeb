"""The client: one user's socket, kept open, and the HTTP interface beside it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from tests.integration.support.old_client.client.context import Closed, Context, OwnSends, Pending
from tests.integration.support.old_client.client.errors import ClientClosed, ClientError, GaveUp, TokenUnavailable
from tests.integration.support.old_client.client.events import Disconnected, Event, Sent
from tests.integration.support.old_client.client.http import (
    ChatApi,
    ConversationPage,
    Page,
    StoredMessage,
    base_url,
    describe,
    retry_after_seconds,
)
from tests.integration.support.old_client.client.inbox import Inbox
from tests.integration.support.old_client.client.outbox import DEFAULT_CAPACITY, Outbox
from tests.integration.support.old_client.client.policy import Backoff, ReconnectPolicy
from tests.integration.support.old_client.client.session import ABNORMAL, Session
from tests.integration.support.old_client.client.tokens import Token, TokenSource
from tests.integration.support.old_client.client.uuid7 import uuid7
from tests.integration.support.old_client.wire import close_codes
from tests.integration.support.old_client.wire.cursor import parse_cursor
from tests.integration.support.old_client.wire.protocol import PROTOCOL_VERSION, Hello, Send, encode_frame

CONNECT_SECONDS: Final = 15.0
MAX_FRAME_BYTES: Final = 16 * 1024**2
_logger = logging.getLogger("chatsvc.client")


class ChatClient:
    """Receives and sends as one user; reconnects and resumes by itself.

    ::

        async with ChatClient("http://127.0.0.1:8080", token) as client:
            sent = await client.send(["alice", "bob"], "Hello!")
            async for event in client:
                if isinstance(event, MessageReceived):
                    print(event.sender, event.content)

    - Every send carries a ``client_id`` and is repeated under it, after a reconnect too,
      until it is acknowledged: it is accepted once.
    - Events come in order, each message once. Where the server could not replay all that
      was missed, it is fetched by HTTP first (``fill_gaps``); what cannot be fetched is
      announced by a :class:`~chatsvc.client.events.Gap`.
    - A consumer that is slow makes the socket wait; nothing is dropped.

    One task at a time iterates; any number may send.

    Args:
        url: where the server is: ``http://…`` or ``https://…``.
        token: the user's token, or a function that returns a fresh one (or an
            awaitable of it), asked again when the server refuses the last (4001, 4002)
            or says that it ends soon.
        device: names this device, 1 to 64 of ``[A-Za-z0-9_-]``.
        echo: receive also what the same user sent from other devices.
        receipts: hear by :class:`~chatsvc.client.events.StoredUpTo` which of what was sent
            is in the server's database by now.
        queue_size: messages that may wait for the consumer.
        outbox_size: sends that may wait for their ack; one more raises ``QueueFull``.
        max_attempts: connection attempts in a row that may fail before it gives up;
            ``None`` is for ever.
        since: a :attr:`cursor` of an earlier life, to go on from.
        fill_gaps: fetch what is announced as a gap, and hand it over in order.
        backoff: ceilings of the waits, 1 to 30 seconds.
        draw: yields numbers in [0, 1), for the jitter.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        device: str | None = None,
        echo: bool = False,
        receipts: bool = False,
        queue_size: int = 1000,
        outbox_size: int = DEFAULT_CAPACITY,
        max_attempts: int | None = None,
        since: str | None = None,
        fill_gaps: bool = True,
        backoff: Backoff | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._socket_url = f"{base_url(url)}/ws"
        self._device = device
        self._receipts = receipts
        start = parse_cursor(since) if since is not None else None
        if since is not None and start is None:
            raise ValueError("since is a cursor: epoch.id")
        backoff = backoff or Backoff()
        self._tokens = TokenSource(token)
        self.api = ChatApi(url, self._tokens, device=device, backoff=backoff, draw=draw)
        self._context = Context(
            api=self.api,
            tokens=self._tokens,
            inbox=Inbox(queue_size, start),
            outbox=Outbox(outbox_size),
            own=OwnSends(),
            outbox_changed=asyncio.Event(),
            backoff=backoff,
            echo=echo,
            fill_gaps=fill_gaps,
        )
        self._policy = ReconnectPolicy(
            max_attempts=max_attempts,
            can_refresh=self._tokens.refreshable,
            backoff=backoff,
            draw=draw,
        )
        self._hello: Hello | None = None
        self._opened = asyncio.Event()
        self._failure: ClientError | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start connecting; sends wait until that is done."""
        if self._task is not None:
            raise RuntimeError("a client is used once")
        await self.api.__aenter__()
        self._task = asyncio.create_task(self._keep_connected(), name="chatsvc.client")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect for good. Sends without an ack raise ``ClientClosed``. Idempotent."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
        self._stop(ClientClosed("the client was closed"), None)
        await self.api.__aexit__(None, None, None)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now, as far as is known."""
        return self._opened.is_set() and self._hello is not None

    @property
    def hello(self) -> Hello | None:
        """The last connection's ``hello``: user id, bounds, features."""
        return self._hello

    @property
    def cursor(self) -> str | None:
        """Where the consumer stands: after the last event it took. Kept by the
        application once it has dealt with that event, and given back as ``since``, it
        resumes there; ``None`` before the first connection."""
        return self._context.inbox.taken

    @property
    def unsent(self) -> int:
        """Sends that are not acknowledged yet."""
        return len(self._context.outbox)

    async def wait_connected(self) -> Hello:
        """Return once there is a connection.

        Raises:
            GaveUp: there will be none.
            ClientClosed: closed meanwhile.
        """
        await self._opened.wait()
        if self._failure is not None:
            raise self._failure
        assert self._hello is not None
        return self._hello

    async def send(
        self,
        participants: Iterable[str],
        content: str,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Speak to a set of people, the user among them; return when it is durable.

        While there is no connection it waits in a bounded queue, in order. Cancelling it
        (``asyncio.timeout``) leaves open whether it was accepted: send again with the
        same ``client_id`` to be sure.

        Args:
            participants: user ids; who is in the conversation.
            content: 1 to 16,000 characters, as the server's settings say.
            client_id: 1 to 64 printable ASCII characters; a fresh UUIDv7 without it.
            metadata: a small JSON object, carried along.

        Raises:
            QueueFull: as many sends wait as may wait.
            SendRefused: the server will not take it.
            GaveUp, ClientClosed: there is no connection, and there will be none.
            ValueError: not valid Unicode, or metadata that is not JSON.
        """
        if self._failure is not None:
            raise self._failure
        context = self._context
        client_id = client_id or uuid7()
        ref = context.outbox.reserve()
        frame = encode_frame(
            Send(
                ref=ref,
                participants=list(participants),
                content=content,
                client_id=client_id,
                metadata=dict(metadata) if metadata is not None else None,
            )
        )
        result: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        context.outbox.add(ref, frame, Pending(client_id, result))
        context.own.add(client_id)
        context.outbox_changed.set()
        try:
            return await result
        finally:
            if result.cancelled():
                context.outbox.finish(ref)

    def events(self) -> AsyncIterator[Event]:
        """The same as iterating over the client: ends when it is closed.

        Raises, from the iterator:
            GaveUp: the client will not reconnect; what was received comes first.
        """
        return self

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._context.inbox.get()

    # The HTTP interface

    async def post(
        self,
        participants: Iterable[str],
        content: str,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Sent:
        """:meth:`ChatApi.post <chatsvc.client.http.ChatApi.post>`: send without the socket."""
        client_id = client_id or uuid7()
        self._context.own.add(client_id)
        return await self.api.post(participants, content, client_id=client_id, metadata=metadata)

    async def history(
        self,
        participants: Iterable[str] | None = None,
        *,
        channel: str | None = None,
        limit: int = 100,
        before: str | None = None,
        after: str | None = None,
        around: str | None = None,
    ) -> Page:
        """:meth:`ChatApi.history <chatsvc.client.http.ChatApi.history>`."""
        return await self.api.history(
            participants, channel=channel, limit=limit, before=before, after=after, around=around
        )

    async def conversations(
        self, *, limit: int = 100, before: str | None = None
    ) -> ConversationPage:
        """:meth:`ChatApi.conversations <chatsvc.client.http.ChatApi.conversations>`."""
        return await self.api.conversations(limit=limit, before=before)

    async def connections(self, users: Iterable[str]) -> dict[str, int]:
        """:meth:`ChatApi.connections <chatsvc.client.http.ChatApi.connections>`."""
        return await self.api.connections(users)

    async def message(self, message_id: str) -> StoredMessage:
        """:meth:`ChatApi.message <chatsvc.client.http.ChatApi.message>`."""
        return await self.api.message(message_id)

    # Staying connected

    async def _keep_connected(self) -> None:
        try:
            while True:
                closed = await self._one_connection()
                decision = self._policy.closed(closed.code, closed.reason, lasted=closed.lasted)
                self._context.inbox.put_status(
                    Disconnected(closed.code, closed.reason, decision.wait)
                )
                if decision.wait is None:
                    failure = GaveUp(closed.code, closed.reason, decision.why)
                    self._stop(failure, failure)
                    return
                if decision.fresh_token:
                    self._tokens.forget()
                await asyncio.sleep(decision.wait)
        except Exception as exc:  # noqa: BLE001  a fault of this client must end every wait
            failed = GaveUp(ABNORMAL, "", f"the client failed: {exc!r}")
            failed.__cause__ = exc
            self._stop(failed, failed)

    async def _one_connection(self) -> Closed:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                socket = await self._connect()
        except aiohttp.WSServerHandshakeError as exc:
            return _refused_handshake(exc)
        except (aiohttp.ClientError, OSError, TokenUnavailable) as exc:
            return Closed(ABNORMAL, f"cannot connect: {describe(exc)}")
        try:
            session = Session(socket, self._context)
            greeting = await session.greet()
            if isinstance(greeting, Closed):
                return greeting
            self._hello = greeting
            self._policy.opened()
            self._opened.set()
            return await session.run()
        finally:
            if self._failure is None:
                self._opened.clear()
            self._context.outbox.connection_lost()
            await _close(socket)

    async def _connect(self) -> aiohttp.ClientWebSocketResponse[bool]:
        query = {"since": self._context.inbox.cursor, "device": self._device}
        if self._context.echo:
            query["echo"] = "true"
        if self._receipts:
            query["receipts"] = "stored"
        return await self.api.session.ws_connect(
            self._socket_url,
            params={name: value for name, value in query.items() if value is not None},
            headers={"Authorization": f"Bearer {await self._tokens.get()}"},
            timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            protocols=(PROTOCOL_VERSION,),
            max_msg_size=MAX_FRAME_BYTES,
            decode_text=False,
        )

    def _stop(self, for_callers: ClientError, for_consumer: ClientError | None) -> None:
        """No more: whoever waits is told."""
        if self._failure is None:
            self._failure = for_callers
        self._opened.set()
        for entry in self._context.outbox.clear():
            if not entry.waiter.result.done():
                entry.waiter.result.set_exception(for_callers)
        self._context.inbox.end(for_consumer)


def _refused_handshake(error: aiohttp.WSServerHandshakeError) -> Closed:
    """The close code that says the same as the status."""
    headers: Mapping[str, str] = error.headers or {}
    if error.status == 401:
        why = headers.get("WWW-Authenticate", "no reason given")
        return Closed(close_codes.TOKEN_INVALID, f"the token was refused: {why}")
    if error.status == 403:
        return Closed(close_codes.FORBIDDEN, "refused")
    retry_after = retry_after_seconds(headers)
    if error.status in (429, 503) and retry_after is not None:
        reason = close_codes.reason_with_retry(f"http_{error.status}", int(retry_after * 1000))
        return Closed(close_codes.OVERLOAD, reason)
    return Closed(ABNORMAL, f"cannot connect: the server answered {error.status}")


async def _close(socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
    try:
        async with asyncio.timeout(2.0):
            await socket.close()
    except TimeoutError:
        _logger.debug("closed without a closing handshake")
