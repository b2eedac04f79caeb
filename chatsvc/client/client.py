"""The client: one user's socket, kept open, and the calls of the HTTP interface."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from ssl import SSLContext
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from chatsvc.client.arguments import check_positive
from chatsvc.client.context import Closed, Context, Pending
from chatsvc.client.errors import ClientClosed, ClientError, GaveUp, TokenUnavailable
from chatsvc.client.events import MESSAGE, Disconnected, Event, Sent
from chatsvc.client.frames import read_cursor
from chatsvc.client.groups import ClientGroups
from chatsvc.client.handshake import ABNORMAL, open_socket, refused_handshake
from chatsvc.client.http import ChatApi, describe
from chatsvc.client.http_calls import HttpCalls
from chatsvc.client.inbox import Inbox
from chatsvc.client.kinds import chosen_kinds
from chatsvc.client.outbox import DEFAULT_CAPACITY, Outbox
from chatsvc.client.outgoing import check_outgoing
from chatsvc.client.own_sends import OwnSends
from chatsvc.client.policy import Backoff, ReconnectPolicy
from chatsvc.client.session import Session
from chatsvc.client.tokens import Token, TokenSource
from chatsvc.wire.cursor import Cursor
from chatsvc.wire.protocol import Hello

CONNECT_SECONDS: Final = 15.0
CLOSE_SECONDS: Final = 2.0
_logger = logging.getLogger("chatsvc.client")


class ChatClient(HttpCalls):
    """A client that receives and sends as one user; it reconnects and resumes by itself.

    ::

        async with ChatClient("http://127.0.0.1:8080", token) as client:
            sent = await client.send(["alice", "bob"], "Hello!")
            async for event in client:
                if isinstance(event, MessageReceived):
                    print(event.sender, event.content)

    - Every send carries a ``client_id`` and is repeated under it, after a reconnect too,
      until it is acknowledged: it is accepted once.
    - Events come in order, each record once. Where the server could not replay all that
      was missed, it is fetched by HTTP first (``fill_gaps``), for as long as that takes:
      newer messages wait, and the cursor does not pass it. Only what the server refuses
      for good is announced by a :class:`~chatsvc.client.events.Gap`, and what it has lost
      by a :class:`~chatsvc.client.events.Lost`.
    - A message that the client itself sent is not an event, with ``echo`` neither.
    - A consumer that is slow makes the socket wait; nothing is dropped.
    - Records of other ``kinds`` than were asked for, and frames and fields of a newer server,
      are passed over.
    - ``groups`` has the calls about groups (:class:`~chatsvc.client.groups.ClientGroups`). What
      is sent to one has its ``channel``. Their changes are records of the kinds ``group`` and
      ``membership``, which are to be asked for: ``kinds=["message", "group", "membership"]``.

    One task at a time iterates; any number may send.

    Args:
        url: where the server is: ``http://…`` or ``https://…``.
        token: the user's token, or a function that returns a fresh one (or an
            awaitable of it), asked again when the server refuses the last (4001, 4002)
            or says that it ends soon.
        device: names this device, 1 to 64 of ``[A-Za-z0-9_-]``.
        echo: receive also what the same user sent from other devices.
        receipts: receive :class:`~chatsvc.client.events.StoredUpTo`: which of what was sent
            is in the server's database.
        kinds: names of the kinds of records to receive, or ``None`` or ``"all"`` for all: those
            that are no messages are :class:`~chatsvc.client.events.ChangeReceived`, also where
            the user caused them. Of a server without the feature ``changes`` only messages can
            be asked: the client gives up there.
        queue_size: records that may wait for the consumer.
        outbox_size: sends that may wait for their ack; one more raises ``QueueFull``.
        max_attempts: connection attempts in a row that may fail before it gives up;
            ``None`` is for ever.
        since: a :attr:`cursor` that an earlier client had, to resume from.
        fill_gaps: fetch what is announced as a gap, and deliver it in order. Without it
            the application gets each :class:`~chatsvc.client.events.Gap` at once.
        backoff: ceilings of the waits, 1 to 30 seconds.
        draw: yields numbers in [0, 1), for the jitter.
        session: an aiohttp session to use; its owner closes it, after the client.
        ssl: certificates to trust and to show, instead of the system's.
        headers: sent with every request and handshake, such as those a proxy asks for.

    Raises:
        ValueError: ``url``, ``token``, ``device``, ``kinds``, ``since`` or ``headers`` cannot be
            used, or a size is less than 1.
    """

    _used_token: str | None = None
    _hello: Hello | None = None
    _failure: ClientError | None = None
    _task: asyncio.Task[None] | None = None

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        device: str | None = None,
        echo: bool = False,
        receipts: bool = False,
        kinds: Iterable[str] | None = (MESSAGE,),
        queue_size: int = 1000,
        outbox_size: int = DEFAULT_CAPACITY,
        max_attempts: int | None = None,
        since: str | None = None,
        fill_gaps: bool = True,
        backoff: Backoff | None = None,
        draw: Callable[[], float] = random.random,
        session: aiohttp.ClientSession | None = None,
        ssl: SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        check_positive(queue_size=queue_size, outbox_size=outbox_size, max_attempts=max_attempts)
        self._device, self._receipts, self._opened = device, receipts, asyncio.Event()
        tokens, own, backoff = TokenSource(token), OwnSends(), backoff or Backoff()
        self.api = ChatApi(
            url,
            tokens,
            device=device,
            backoff=backoff,
            draw=draw,
            session=session,
            ssl=ssl,
            headers=headers,
            own=own,
        )
        self._context = Context(
            api=self.api,
            tokens=tokens,
            inbox=Inbox(queue_size, _position(since)),
            outbox=Outbox(outbox_size),
            own=own,
            outbox_changed=asyncio.Event(),
            backoff=backoff,
            draw=draw,
            echo=echo,
            kinds=chosen_kinds(kinds),
            fill_gaps=fill_gaps,
        )
        self._policy = ReconnectPolicy(
            max_attempts=max_attempts, can_refresh=tokens.refreshable, backoff=backoff, draw=draw
        )

    async def __aenter__(self) -> Self:
        """Start connecting; sends wait until that is done."""
        if self._task is not None:
            raise RuntimeError("a ChatClient must not be entered twice")
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
    def groups(self) -> ClientGroups:
        """The calls about groups."""
        return ClientGroups(self.api.groups, self)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now, as far as is known."""
        return self._opened.is_set() and self._failure is None

    @property
    def hello(self) -> Hello | None:
        """The ``hello`` of the last connection: user id, bounds, features."""
        return self._hello

    @property
    def cursor(self) -> str | None:
        """The position after the last event that the consumer took.

        An application stores it once it has handled that event, and gives it back as
        ``since``, to resume there. ``None`` before the first connection.
        """
        return self._context.inbox.taken

    @property
    def unsent(self) -> int:
        """How many sends are not acknowledged yet."""
        return len(self._context.outbox)

    async def wait_connected(self) -> Hello:
        """Return once there is a connection.

        Raises:
            GaveUp: there will be none.
            ClientClosed: closed meanwhile.
            RuntimeError: the client was not entered.
        """
        self._check_entered()
        await self._opened.wait()
        if self._failure is not None:
            raise self._failure
        assert self._hello is not None
        return self._hello

    async def send(
        self,
        participants: Iterable[str] | None = None,
        content: str | None = None,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        channel: str | None = None,
    ) -> Sent:
        """Send a message to a conversation of the user's; return when it is durable.

        Either ``participants`` or ``channel`` names the conversation. While there is no
        connection it waits in a bounded queue, in order. Cancelling it
        (``asyncio.timeout``) leaves open whether it was accepted: send again with the
        same ``client_id`` to be sure.

        Args:
            participants: user ids; who is in the conversation, the user among them.
            content: 1 to 16,000 characters, as the server's settings say.
            client_id: 1 to 64 printable ASCII characters; without it, a fresh UUIDv7
                of the server's time.
            metadata: a small JSON object, carried along.
            channel: the conversation's key, such as that of a message to answer.

        Raises:
            QueueFull: as many sends wait as may wait.
            SendRefused: the server refused it.
            GaveUp, ClientClosed: there is no connection, and there will be none.
            ValueError: both of ``participants`` and ``channel`` or neither, not valid
                Unicode, a ``client_id`` out of its bounds, or metadata that is not JSON.
            TypeError: ``content`` or a user id is not a string.
            RuntimeError: the client was not entered.
        """
        self._check_entered()
        if self._failure is not None:
            raise self._failure
        context, mint = self._context, self.api.clock.mint
        one = check_outgoing(participants, channel, content, client_id, metadata, mint=mint)
        ref = context.outbox.reserve()
        frame = one.frame(ref)
        result: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        context.outbox.add(ref, frame, Pending(one.client_id, result))
        context.own.add(one.client_id, one.destination.key)
        context.outbox_changed.set()
        try:
            return await result
        finally:
            if result.cancelled():
                context.outbox.finish(ref)

    def events(self) -> AsyncIterator[Event]:
        """Iterate over the events, as iterating over the client does; ends when it is closed.

        Raises, from the iterator:
            GaveUp: the client will not reconnect; what was received comes first.
        """
        return self

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        self._check_entered()
        return await self._context.inbox.get()

    def _check_entered(self) -> None:
        if self._task is None and self._failure is None:
            raise RuntimeError("a ChatClient must be entered first: async with ChatClient(…) as c")

    # Staying connected

    async def _keep_connected(self) -> None:
        try:
            while True:
                closed = await self._one_connection()
                decision = self._policy.closed(
                    closed.code,
                    closed.reason,
                    lasted=closed.lasted,
                    certain=closed.certain,
                    final=closed.final,
                )
                self._context.inbox.put_status(
                    Disconnected(closed.code, closed.reason, decision.wait)
                )
                if decision.wait is None:
                    failure = GaveUp(closed.code, closed.reason, decision.why)
                    self._stop(failure, failure)
                    return
                if decision.fresh_token:
                    self._context.tokens.forget(self._used_token)
                await asyncio.sleep(decision.wait)
        except Exception as exc:  # noqa: BLE001  a fault of this client must end every wait
            failed = GaveUp(ABNORMAL, "", f"the client failed: {exc!r}")
            failed.__cause__ = exc
            self._stop(failed, failed)

    async def _one_connection(self) -> Closed:
        token = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                token = await self._context.tokens.get()
                socket = await open_socket(self.api, token, self._parameters())
        except aiohttp.ClientResponseError as exc:
            closed = refused_handshake(exc, self._context.kinds)
        except (aiohttp.ClientError, OSError, TokenUnavailable) as exc:
            closed = Closed(ABNORMAL, f"cannot connect: {describe(exc)}")
        else:
            session = Session(socket, self._context, token)
            closed = await self._run(session, socket)
            token = session.token
        self._used_token = token
        return closed

    async def _run(self, session: Session, socket: aiohttp.ClientWebSocketResponse[bool]) -> Closed:
        try:
            hello = await session.start()
            if isinstance(hello, Closed):
                return hello
            self._hello = hello
            self._policy.opened()
            self._opened.set()
            return await session.run()
        finally:
            if self._failure is None:
                self._opened.clear()
            self._context.outbox.connection_lost()
            await _close(socket)

    def _parameters(self) -> dict[str, str | None]:
        kinds = self._context.kinds
        return {
            "since": self._context.inbox.cursor,
            "device": self._device,
            "echo": "true" if self._context.echo else None,
            "receipts": "stored" if self._receipts else None,
            # Older servers refuse a parameter that they do not know: none is sent by default.
            "kinds": None if kinds.messages_only else kinds.query,
        }

    def _stop(self, for_callers: ClientError, for_consumer: ClientError | None) -> None:
        """End every wait, with an error or the end of the events."""
        if self._failure is None:
            self._failure = for_callers
        self._opened.set()
        for entry in self._context.outbox.clear():
            if not entry.waiter.result.done():
                entry.waiter.result.set_exception(for_callers)
        self._context.inbox.end(for_consumer)


def _position(since: str | None) -> Cursor | None:
    """Return where to resume.

    Raises:
        ValueError: it is no cursor.
    """
    if since is None:
        return None
    position = read_cursor(since)
    if position is None:
        raise ValueError("since must be a cursor: epoch.id")
    return position


async def _close(socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await socket.close()
    except TimeoutError:
        _logger.debug("closed without a closing handshake")
