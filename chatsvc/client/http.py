"""The calls of the HTTP interface, tried again where that can help."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable, Mapping
from ssl import SSLContext
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec
from yarl import URL

from chatsvc.client.answers import (
    Answer,
    ChangesPage,
    ConversationPage,
    Page,
    StoredMessage,
    problem_of,
    read_changes,
    read_connections,
    read_conversations,
    read_page,
    read_posted,
    read_stored_message,
)
from chatsvc.client.arguments import check_device, path_segment, user_list
from chatsvc.client.errors import ApiError, Unreachable
from chatsvc.client.events import Sent
from chatsvc.client.groups import GroupCalls
from chatsvc.client.kinds import chosen_kinds
from chatsvc.client.outgoing import check_outgoing
from chatsvc.client.own_sends import OwnSends
from chatsvc.client.policy import Backoff
from chatsvc.client.server_clock import ServerClock
from chatsvc.client.tokens import Token, TokenSource
from chatsvc.client.undone import is_undone

TRIES: Final = 3
MAX_RETRY_AFTER: Final = 60.0
"""Seconds. A server that asks for more gets no further try: the caller decides."""
_OWN_HEADERS: Final = frozenset(
    {"authorization", "chatsvc-device", "connection", "content-length", "content-type", "upgrade"}
)


class _Post(msgspec.Struct):
    content: str
    client_id: str
    participants: list[str] | msgspec.UnsetType = msgspec.UNSET
    channel: str | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _LostOnce(aiohttp.ClientPayloadError):
    """A lost connection, of a class that makes aiohttp not repeat the request by itself."""


async def _one_try(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp silently repeats a GET once; with ours on top, three tries would be six.
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise _LostOnce(describe(exc)) from exc


class ChatApi:
    """The calls of the HTTP interface as coroutines.

    Each is tried up to three times, after ``Retry-After`` or a jittered wait: on lost
    connections and on answers of 408, 425, 429 and 5xx. That is safe for :meth:`post` too:
    it carries a ``client_id``. Those of groups are in ``groups``
    (:class:`~chatsvc.client.groups.GroupCalls`); one of them, ``create_link``, is tried again
    only where it was certainly not carried out. Every call raises:

    - :class:`~chatsvc.client.errors.ApiError`: an answer that is not a success;
    - :class:`~chatsvc.client.errors.Unreachable`: no answer;
    - :class:`~chatsvc.client.errors.TokenUnavailable`: the function for tokens failed.

    ::

        async with ChatApi("http://127.0.0.1:8080", token) as api:
            await api.post(["alice", "bob"], "Hello!")
            for message in (await api.history(["alice", "bob"])).messages:
                print(message.sender, message.content)

    Args:
        url: where the server is: ``http://…`` or ``https://…``.
        token: the user's token, or a function that returns a fresh one (or an
            awaitable of it), asked again when the server refuses the last.
        device: names this device, 1 to 64 of ``[A-Za-z0-9_-]``.
        timeout: seconds for one try.
        backoff: ceilings of the waits between tries.
        draw: yields numbers in [0, 1), for the jitter.
        session: an aiohttp session to use; its owner closes it.
        ssl: certificates to trust and to show, instead of the system's.
        headers: sent with every request, such as those that a proxy asks for.
        own: notes what is sent, to be known again.

    Raises:
        ValueError: ``url``, ``token``, ``device`` or ``headers`` cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: Token | TokenSource,
        *,
        device: str | None = None,
        timeout: float = 30.0,
        backoff: Backoff | None = None,
        draw: Callable[[], float] = random.random,
        session: aiohttp.ClientSession | None = None,
        ssl: SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        own: OwnSends | None = None,
    ) -> None:
        check_device(device)
        self.base = base_url(url)
        self.headers = _checked_headers(headers or {})
        self.ssl: SSLContext | bool = True if ssl is None else ssl
        self.clock = ServerClock()
        self.tokens = token if isinstance(token, TokenSource) else TokenSource(token)
        self._device = device
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 10.0))
        self._backoff = backoff or Backoff()
        self._draw = draw
        self._session = session
        self._owns_session = session is None
        self._own = own
        self.groups = GroupCalls(self._call, self.clock.mint)

    async def __aenter__(self) -> Self:
        if self._session is None:
            self._session = aiohttp.ClientSession(middlewares=(_one_try,))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The aiohttp session, while the API is open."""
        if self._session is None:
            raise RuntimeError("a ChatApi must be entered first: async with ChatApi(…) as api")
        return self._session

    async def post(
        self,
        participants: Iterable[str] | None = None,
        content: str | None = None,
        *,
        channel: str | None = None,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Send a message to a conversation of the caller's; durable on return.

        Either ``participants``, the caller among them, or ``channel``, the conversation's
        key, names the conversation.

        Raises:
            ApiError, Unreachable, TokenUnavailable: as every call.
            ValueError: both of ``participants`` and ``channel`` or neither, not valid
                Unicode, a ``client_id`` out of its bounds, or metadata that is not JSON.
            TypeError: ``content`` or a user id is not a string.
        """
        mint = self.clock.mint
        one = check_outgoing(participants, channel, content, client_id, metadata, mint=mint)
        body = _Post(
            participants=one.destination.participants,
            channel=one.destination.channel,
            content=one.content,
            client_id=one.client_id,
            metadata=msgspec.UNSET if one.metadata is None else one.metadata,
        )
        if self._own is not None:
            self._own.add(one.client_id, one.destination.key)
        answer = await self._call("POST", "api/messages", body=body)
        posted = read_posted(answer)
        if self._own is not None:
            self._own.accepted(posted.id)
        return Sent(posted.id, posted.created_at, one.client_id, answer.status == 200)

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
        """Fetch a page of one conversation, or of all the caller's conversations.

        It is all of them without ``participants`` and ``channel``.

        ``before``, ``after`` and ``around`` are exclusive ids, one at most: before (or
        without any) pages towards older messages, after towards newer ones.
        """
        query = {"limit": str(limit), "channel": channel}
        if participants is not None:
            query["participants"] = ",".join(user_list(participants, "participants"))
        query |= {"before": before, "after": after, "around": around}
        return read_page(await self._call("GET", "api/messages", query=query))

    async def changes(
        self,
        *,
        after: str | None = None,
        channel: str | None = None,
        kinds: Iterable[str] | None = None,
        limit: int = 100,
    ) -> ChangesPage:
        """Fetch the oldest records above ``after``: messages, and what changed them.

        Args:
            after: an exclusive id; without it, from the first record on.
            channel: the key of one conversation; without it, of all the caller's.
            kinds: names of the kinds to fetch; ``None`` or ``"all"``: all.
            limit: 1 to 1,000 records.

        Raises:
            ApiError, Unreachable, TokenUnavailable: as every call.
            ValueError: ``kinds`` names none, too many, or one that no kind can have.
            TypeError: ``kinds`` is another string, or has what is none.
        """
        query = {"after": after, "channel": channel}
        query |= {"kinds": chosen_kinds(kinds).query, "limit": str(limit)}
        return read_changes(await self._call("GET", "api/changes", query=query))

    async def message(self, message_id: str) -> StoredMessage:
        """Fetch one message, and whether it is stored."""
        answer = await self._call("GET", f"api/messages/{path_segment(message_id)}")
        return read_stored_message(answer)

    async def conversations(
        self, *, limit: int = 100, before: str | None = None
    ) -> ConversationPage:
        """Fetch a page of the caller's conversations, newest first."""
        query = {"limit": str(limit), "before": before}
        return read_conversations(await self._call("GET", "api/conversations", query=query))

    async def connections(self, users: Iterable[str]) -> dict[str, int]:
        """Fetch how many sockets each of these users has open."""
        answer = await self._call(
            "POST", "api/connections", body={"users": user_list(users, "users")}
        )
        return read_connections(answer)

    # One call

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: object = None,
        once: bool = False,
    ) -> Answer:
        """Make a request, again where that can help; with ``once`` only if it was not done."""
        data = msgspec.json.encode(body) if body is not None else None
        params = {name: value for name, value in (query or {}).items() if value is not None}
        refreshed = False
        failures = 0
        while True:
            token = await self.tokens.get()
            retry_after: float | None = None
            try:
                answer = await self._try(method, path, params, data, token)
            except TimeoutError as exc:
                raise Unreachable(f"{method} /{path}: no answer in time") from exc
            except aiohttp.ClientError as exc:
                failure: ApiError | Unreachable = Unreachable(f"{method} /{path}: {describe(exc)}")
                failure.__cause__ = exc
            else:
                if answer.status < 300:
                    return answer
                failure = problem_of(answer)
                if answer.status == 401 and self.tokens.refreshable and not refreshed:
                    refreshed = True
                    self.tokens.forget(token)
                    continue
                if not failure.passing:
                    raise failure
                retry_after = failure.retry_after
            failures += 1
            too_long = retry_after is not None and retry_after > MAX_RETRY_AFTER
            if failures >= TRIES or too_long or (once and not is_undone(failure)):
                raise failure
            await asyncio.sleep(self._backoff.wait(failures - 1, self._draw(), retry_after))

    async def _try(
        self, method: str, path: str, params: Mapping[str, str], data: bytes | None, token: str
    ) -> Answer:
        headers = {**self.headers, "Authorization": f"Bearer {token}"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self._device is not None:
            headers["Chatsvc-Device"] = self._device
        async with self.session.request(
            method,
            URL(self.base).joinpath(path, encoded=True),
            params=params,
            data=data,
            headers=headers,
            timeout=self._timeout,
            ssl=self.ssl,
            allow_redirects=False,
            raise_for_status=False,
        ) as response:
            self.clock.observe_date(response.headers.get("Date"))
            return Answer(response.status, response.headers, await response.read())


def base_url(url: str) -> str:
    """Make the server's root as an ``http`` or ``https`` URL; a path in it is kept.

    Raises:
        ValueError: not such a URL.
    """
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the URL must begin with http:// or https:// and name a host: {url!r}")
    if parts.username is not None:
        raise ValueError("the URL must have no user information: the token says who it is")
    if parts.port == 0:
        raise ValueError(f"the port must be 1 to 65535: {url!r}")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name in headers:
        if name.lower() in _OWN_HEADERS or name.lower().startswith("sec-websocket-"):
            raise ValueError(f"headers must not contain {name}: the client sets it")
    return dict(headers)


def describe(error: BaseException) -> str:
    """Say in words what an exception of aiohttp's is: some have none, others too many."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(
        error, aiohttp.ClientSSLError
    ):
        cause = error.os_error
        if cause.errno is not None and cause.errno > 0:  # names that are not found have others
            return os.strerror(cause.errno)
        return cause.strerror or str(cause)
    return str(error) or type(error).__name__
