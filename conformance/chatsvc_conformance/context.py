"""What a check works with: users, conversations, calls and sockets."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import aiohttp

from chatsvc_conformance.bounds import Bounds
from chatsvc_conformance.expect import Failed, Skipped
from chatsvc_conformance.http import Answer, Api
from chatsvc_conformance.raw_socket import RawSocket
from chatsvc_conformance.sockets import Socket
from chatsvc_conformance.tokens import User, Users, fresh_name

_T = TypeVar("_T")
_POLL_SECONDS = 0.05


class Conversation(NamedTuple):
    """Participants, and the channel key that the protocol gives them."""

    participants: list[str]
    channel: str


def conversation_of(*people: str) -> Conversation:
    """The participants and their key, computed independently of the server's code."""
    ids = sorted({person.encode() for person in people})
    key = b",".join(ids)
    if len(key) > 255:
        key = b",sha256:" + hashlib.sha256(key).hexdigest().encode()
    return Conversation([person.decode() for person in ids], key.decode())


class Context:
    """One check's view of the server; :meth:`close` ends what it left open.

    Args:
        timeout: seconds that anything may take.
        limits: the bounds in force.
    """

    def __init__(self, api: Api, users: Users, timeout: float, limits: Bounds) -> None:
        self.api = api
        self.timeout = timeout
        self.limits = limits
        self._users = users
        self._sockets: list[Socket] = []
        self._raw: list[RawSocket] = []

    async def users(self, count: int) -> list[User]:
        """So many users. Raises ``Skipped`` where there are fewer."""
        return await self._users.take(count)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with just these claims. Raises ``Skipped`` where nothing can be signed."""
        return self._users.sign(claims)

    def conversation(self, *users: User) -> Conversation:
        """A new one: of these users and one who exists nowhere else."""
        return conversation_of(*(user.id for user in users), fresh_name())

    async def post(
        self,
        user: User,
        conversation: Conversation,
        content: str = "hello",
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        """``POST /api/messages``."""
        body = {"participants": conversation.participants, "content": content, **more}
        return await self.api.call(
            "POST", "/api/messages", token=user.token, json=body, headers=headers
        )

    async def send(
        self, user: User, conversation: Conversation, content: str = "hello", **more: Any
    ) -> dict[str, Any]:
        """The message of a send that is answered with 201."""
        message: dict[str, Any] = (await self.post(user, conversation, content, **more)).expect(201)
        return message

    async def get(self, user: User, path: str, **query: str) -> Answer:
        """A call of a user; parameters as given."""
        return await self.api.call("GET", path, token=user.token, query=query)

    async def page(
        self, user: User, conversation: Conversation | None, **query: str
    ) -> dict[str, Any]:
        """A page of one conversation, or of all the user's."""
        path = "/api/messages"
        if conversation is not None:
            path, query = "/api/messages/get", {"channel": conversation.channel, **query}
        page: dict[str, Any] = (await self.get(user, path, **query)).expect(200)
        return page

    async def connect(self, user: User, **query: str) -> Socket:
        """A socket whose ``hello`` was read, its token in the header."""
        headers = {"Authorization": f"Bearer {user.token}"}
        socket = await self.upgrade(headers=headers, query=query)
        await socket.await_hello()
        return socket

    async def upgrade(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        protocols: tuple[str, ...] = (),
        query: Mapping[str, str] | None = None,
    ) -> Socket:
        """A socket after its handshake, whatever comes then.

        Raises:
            Failed: the server did not upgrade.
        """
        try:
            async with asyncio.timeout(self.timeout):
                ws = await self.api.session.ws_connect(
                    self.api.url("/ws", query), headers=headers, protocols=protocols, max_msg_size=0
                )
        except TimeoutError:
            raise Failed("GET /ws must be answered in time: there was no answer") from None
        except (aiohttp.ClientError, OSError) as exc:
            raise Failed(f"GET /ws: {type(exc).__name__} {exc}") from None
        socket = Socket(ws, self.timeout)
        self._sockets.append(socket)
        return socket

    async def raw(self, user: User) -> RawSocket:
        """A :class:`RawSocket` whose ``hello`` was read."""
        raw = await RawSocket.open(self.api.base, user.token, self.timeout)
        self._raw.append(raw)
        await raw.frame()
        return raw

    def heartbeat(self, socket: Socket) -> float:
        """Seconds between the server's pings.

        Raises:
            Skipped: they come too seldom to be waited for.
        """
        seconds = float(socket.hello["heartbeat_seconds"])
        if seconds * 2.5 > self.timeout:
            raise Skipped(f"pings come every {seconds:g} s: raise --timeout to wait for them")
        return seconds

    async def until(
        self, read: Callable[[], Awaitable[_T]], good: Callable[[_T], object], what: str
    ) -> _T:
        """Repeat a read until its value is good.

        Raises:
            Failed: it never was.
        """
        deadline = asyncio.get_running_loop().time() + self.timeout
        while not good(value := await read()):
            if asyncio.get_running_loop().time() > deadline:
                raise Failed(f"{what}, after {self.timeout:g} s: the last answer is {value!r}")
            await asyncio.sleep(_POLL_SECONDS)
        return value

    def client_id(self) -> str:
        """A ``client_id`` that was never used."""
        return secrets.token_hex(16)

    async def close(self) -> None:
        """End every socket."""
        for raw in self._raw:
            await raw.end()
        await asyncio.gather(*(socket.close() for socket in self._sockets))
