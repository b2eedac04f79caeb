"""The HTTP interface, tried again where that can help."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import msgspec

from tests.integration.support.old_client.client.errors import ApiError, FieldError, Unreachable
from tests.integration.support.old_client.client.events import Message, Sent, decode_message
from tests.integration.support.old_client.client.policy import Backoff
from tests.integration.support.old_client.client.tokens import Token, TokenSource
from tests.integration.support.old_client.client.uuid7 import uuid7

TRIES: Final = 3
LONGEST_RETRY_AFTER: Final = 60.0
"""Seconds. A server that asks for more gets no further try: the caller decides."""
_T = TypeVar("_T")
_LOST: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


class _LostOnce(aiohttp.ClientPayloadError):
    """A lost connection, under a name at which aiohttp does not try again by itself."""


async def _one_try(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp silently repeats a GET once; with ours on top, three tries would be six.
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise _LostOnce(describe(exc)) from exc


class Page(NamedTuple):
    """Messages, oldest first. ``before`` and ``after`` page on, towards older and newer;
    ``complete`` is false while the server's store is away and older ones may be missing."""

    messages: list[Message]
    has_more: bool
    before: str | None
    after: str | None
    complete: bool


class Conversation(NamedTuple):
    """A conversation by its newest message."""

    channel: str
    participants: tuple[str, ...]
    last_message: Message


class ConversationPage(NamedTuple):
    """Conversations, newest first; ``before`` pages on. ``complete`` as in a page."""

    conversations: list[Conversation]
    has_more: bool
    before: str | None
    complete: bool


class StoredMessage(NamedTuple):
    """A message and whether it is ``accepted`` (durable) or ``stored`` (in the database)."""

    message: Message
    state: str


class _Page(msgspec.Struct):
    messages: list[msgspec.Raw]
    has_more: bool = False
    before: str | None = None
    after: str | None = None
    complete: bool = True


class _Conversation(msgspec.Struct):
    channel: str
    participants: tuple[str, ...]
    last_message: msgspec.Raw


class _ConversationPage(msgspec.Struct):
    conversations: list[_Conversation]
    has_more: bool = False
    before: str | None = None
    complete: bool = True


class _Connections(msgspec.Struct):
    connections: dict[str, int]


class _Problem(msgspec.Struct):
    title: str = ""
    code: str = ""
    detail: str = ""
    id: str | None = None
    errors: list[FieldError] = []


class _State(msgspec.Struct):
    state: str


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class ChatApi:
    """The calls of the HTTP interface as coroutines.

    Each is tried up to three times, on 5xx answers and lost connections alone, after
    ``Retry-After`` or a jittered wait. That is safe for :meth:`post` too: it carries a
    ``client_id``. Every call raises:

    - :class:`~chatsvc.client.errors.ApiError`: an answer that is not a success;
    - :class:`~chatsvc.client.errors.Unreachable`: no answer.

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
        session: an aiohttp session to use; its owner closes it.
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
    ) -> None:
        self.base = base_url(url)
        self.tokens = token if isinstance(token, TokenSource) else TokenSource(token)
        self._device = device
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 10.0))
        self._backoff = backoff or Backoff()
        self._draw = draw
        self._session = session
        self._owns_session = session is None

    async def __aenter__(self) -> Self:
        if self._session is None:
            self._session = aiohttp.ClientSession()
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
            raise RuntimeError("use it as `async with`: there is no session yet")
        return self._session

    async def post(
        self,
        participants: Iterable[str],
        content: str,
        *,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Speak to a set of people, the caller among them. Durable on return."""
        client_id = client_id or uuid7()
        body: dict[str, Any] = {
            "participants": list(participants),
            "content": content,
            "client_id": client_id,
        }
        if metadata is not None:
            body["metadata"] = metadata
        answer = await self._call("POST", "api/messages", body=body)
        message = _read(answer, decode_message)
        return Sent(message.id, message.created_at, client_id, answer.status == 200)

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
        """A page of one conversation; of all the caller's, without participants or channel.

        ``before``, ``after`` and ``around`` are exclusive ids, one at most: before (or
        without any) pages towards older messages, after towards newer ones.
        """
        query = {"limit": str(limit), "channel": channel}
        if participants is not None:
            query["participants"] = ",".join(participants)
        query |= {"before": before, "after": after, "around": around}
        page = _read(await self._call("GET", "api/messages", query=query), _decode_page)
        messages = [decode_message(bytes(raw)) for raw in page.messages]
        return Page(messages, page.has_more, page.before, page.after, page.complete)

    async def message(self, message_id: str) -> StoredMessage:
        """One message that the caller may read."""
        answer = await self._call("GET", f"api/messages/{quote(message_id, safe='')}")
        return StoredMessage(_read(answer, decode_message), _read(answer, _decode_state).state)

    async def conversations(
        self, *, limit: int = 100, before: str | None = None
    ) -> ConversationPage:
        """The caller's conversations, newest first."""
        query = {"limit": str(limit), "before": before}
        page = _read(
            await self._call("GET", "api/conversations", query=query), _decode_conversations
        )
        found = [
            Conversation(one.channel, one.participants, decode_message(bytes(one.last_message)))
            for one in page.conversations
        ]
        return ConversationPage(found, page.has_more, page.before, page.complete)

    async def connections(self, users: Iterable[str]) -> dict[str, int]:
        """How many sockets each of these users has open, over all gateways."""
        answer = await self._call("POST", "api/connections", body={"users": list(users)})
        return _read(answer, _decode_connections).connections

    # One call

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: object = None,
    ) -> _Answer:
        """Try, and try again where that can help."""
        data = msgspec.json.encode(body) if body is not None else None
        params = {name: value for name, value in (query or {}).items() if value is not None}
        refreshed = False
        failures = 0
        while True:
            token = await self.tokens.get()
            wait: float | None = None
            try:
                answer = await self._try(method, path, params, data, token)
            except _LOST as exc:
                failure: ApiError | Unreachable = Unreachable(f"{method} /{path}: {describe(exc)}")
                failure.__cause__ = exc
            except TimeoutError as exc:
                raise Unreachable(f"{method} /{path}: no answer in time") from exc
            else:
                if answer.status < 300:
                    return answer
                failure = _problem(answer)
                if answer.status == 401 and self.tokens.refreshable and not refreshed:
                    refreshed = True
                    self.tokens.forget(token)
                    continue
                if answer.status < 500:
                    raise failure
                wait = failure.retry_after
            failures += 1
            if failures >= TRIES or (wait is not None and wait > LONGEST_RETRY_AFTER):
                raise failure
            if wait is None:
                wait = self._draw() * self._backoff.ceiling(failures - 1)
            await asyncio.sleep(wait)

    async def _try(
        self, method: str, path: str, params: Mapping[str, str], data: bytes | None, token: str
    ) -> _Answer:
        headers = {"Authorization": f"Bearer {token}"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self._device is not None:
            headers["Chatsvc-Device"] = self._device
        async with self.session.request(
            method,
            f"{self.base}/{path}",
            params=params,
            data=data,
            headers=headers,
            timeout=self._timeout,
            allow_redirects=False,
            middlewares=(_one_try,),
        ) as response:
            return _Answer(response.status, response.headers, await response.read())


def base_url(url: str) -> str:
    """The server's root as an ``http`` or ``https`` URL; a path in it is kept.

    Raises:
        ValueError: not such a URL.
    """
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http:// or https:// URL: {url!r}")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` in its form of seconds (RFC 9110 §10.2.3); ``None`` for none, or a date."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def describe(error: BaseException) -> str:
    """An exception in words: some of aiohttp's have none of their own, others too many."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(
        error, aiohttp.ClientSSLError
    ):
        cause = error.os_error
        if cause.errno is not None and cause.errno > 0:  # names that are not found have others
            return os.strerror(cause.errno)
        return cause.strerror or str(cause)
    return str(error) or type(error).__name__


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_conversations = msgspec.json.Decoder(_ConversationPage).decode
_decode_connections = msgspec.json.Decoder(_Connections).decode
_decode_state = msgspec.json.Decoder(_State).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode


def _problem(answer: _Answer) -> ApiError:
    """The problem document; what a proxy answered instead has the status alone."""
    try:
        problem = _decode_problem(answer.body)
    except msgspec.DecodeError:
        problem = _Problem()
    return ApiError(
        answer.status,
        problem.code or f"http_{answer.status}",
        problem.detail or problem.title or f"the server answered {answer.status}",
        problem.errors,
        retry_after=retry_after_seconds(answer.headers),
        first_id=problem.id,
    )


def _read(answer: _Answer, decode: Callable[[bytes], _T]) -> _T:
    try:
        return decode(answer.body)
    except msgspec.DecodeError as exc:
        detail = f"the answer is not what this call answers: {exc}"
        raise ApiError(answer.status, "unreadable_answer", detail) from exc
