"""A raw client of the HTTP interface, and how a message is brought in.

On aiohttp alone: the proof does not lean on the client that it is to prove. It does
what a careful application would: a UUIDv7 as ``client_id``, and retries with the same.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import msgspec

from testkit.service import token
from tests.fault.kit.recorder import Call, Recorder

decode = msgspec.json.Decoder().decode
LOST = (aiohttp.ClientError, TimeoutError, ConnectionError)
"""What a lost connection or a time-out raises."""


def uuid7(ahead_ms: int = 0) -> str:
    """A UUIDv7 (RFC 9562, 5.7): Unix milliseconds, then random bits."""
    unix_ms = time.time_ns() // 1_000_000 + ahead_ms
    value = unix_ms << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(UUID(int=value))


def next_id(text: str) -> str:
    """The least id above this one, for bounds that are exclusive."""
    return f"{int(text, 16) + 1:016x}"


def brief(message: dict[str, Any]) -> dict[str, Any]:
    """What the recorder keeps of a message."""
    return {
        "id": message["id"],
        "sender": message["sender"],
        "client_id": message.get("client_id", ""),
        "channel": ",".join(message["participants"]),
        "content": message["content"],
    }


class Refused(Exception):
    """The service said no, for certain; ``again`` where trying again may help."""

    def __init__(self, what: str, *, again: bool) -> None:
        super().__init__(what)
        self.again = again


class Undecided(Exception):
    """Nobody can say whether it was accepted; ``told``: the service asked to try again."""

    def __init__(self, what: str, *, told: bool = False) -> None:
        super().__init__(what)
        self.told = told


@dataclass(slots=True)
class Outgoing:
    """A message to be sent, as often as it takes."""

    sender: str
    participants: tuple[str, ...]
    content: str
    device: str
    client_id: str = field(default_factory=uuid7)

    @property
    def recorded(self) -> dict[str, Any]:
        """As the recorder knows it."""
        return {
            "sender": self.sender,
            "client_id": self.client_id,
            "channel": ",".join(sorted(self.participants)),
            "content": self.content,
            "device": self.device,
        }

    @property
    def body(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "participants": list(self.participants),
            "content": self.content,
            "client_id": self.client_id,
        }


class Http:
    """The HTTP interface, as one user after another."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, timeout: float = 5.0) -> None:
        self.session = session
        self.url = url
        self.timeout = aiohttp.ClientTimeout(total=timeout)
        self._tokens: dict[str, str] = {}

    def headers(self, user: str) -> dict[str, str]:
        """Authorization."""
        if user not in self._tokens:
            self._tokens[user] = token(user)
        return {"Authorization": f"Bearer {self._tokens[user]}"}

    async def send(self, message: Outgoing) -> tuple[str, bool]:
        """(id, duplicate).

        Raises:
            Refused, Undecided
        """
        headers = {**self.headers(message.sender), "Chatsvc-Device": message.device}
        try:
            async with self.session.post(
                f"{self.url}/api/messages", json=message.body, headers=headers, timeout=self.timeout
            ) as answer:
                body = await answer.read()
        except aiohttp.ClientConnectorError as exc:
            raise Refused(str(exc), again=True) from exc  # it never got there
        except LOST as exc:
            raise Undecided(repr(exc)) from exc
        if answer.status in (200, 201):
            return decode(body)["id"], answer.status == 200
        if answer.status >= 500:  # a 503 may have been accepted all the same
            raise Undecided(f"{answer.status} {body[:200]!r}", told=True)
        raise Refused(f"{answer.status} {body[:200]!r}", again=answer.status == 429)

    async def page(self, user: str, **query: str | int) -> dict[str, Any] | None:
        """A page of history, or ``None`` where there was no answer or an error."""
        path = "/api/messages/get" if "participants" in query else "/api/messages"
        try:
            async with self.session.get(
                self.url + path, params=query, headers=self.headers(user), timeout=self.timeout
            ) as answer:
                body = await answer.read()
        except LOST:
            return None
        return decode(body) if answer.status == 200 else None

    async def everything(
        self, user: str, channel: str | None, *, after: str = "0" * 16, up_to: str = "", wait: float
    ) -> list[dict[str, Any]]:
        """All messages above ``after`` (up to ``up_to``), page by page, complete.

        Raises:
            TimeoutError: no complete answers within ``wait`` seconds.
        """
        found: list[dict[str, Any]] = []
        chosen = {} if channel is None else {"participants": channel}
        async with asyncio.timeout(wait):
            while True:
                page = await self.page(user, limit=1000, after=after, **chosen)
                if page is None or not page["complete"]:
                    await asyncio.sleep(0.1)
                    continue
                found.extend(map(brief, page["messages"]))
                over = up_to and found and found[-1]["id"] > up_to
                if over or not page["has_more"]:
                    return [message for message in found if not up_to or message["id"] <= up_to]
                after = page["messages"][-1]["id"]


@dataclass(slots=True)
class Delivery:
    """How a message is brought in: tries, waits, and when to let go.

    ``oldest``: the least ``client_id`` of what is not let go; it counts once such ids are made.
    """

    recorder: Recorder
    process: str
    random: random.Random
    attempted: Callable[[str | Refused | Undecided], Awaitable[None]]
    abandon: float = 0.02
    twins: float = 0.05
    patience: float = 60.0
    oldest: Callable[[], str] = str

    async def deliver(
        self, message: Outgoing, transport: Callable[[Outgoing], Awaitable[tuple[str, bool]]]
    ) -> str | None:
        """The id, or ``None`` if it was given up; every attempt is recorded.

        Now and then the same message is sent twice at once.
        """
        if self.random.random() < self.twins:
            both = await asyncio.gather(
                self._attempt(message, transport), self._attempt(message, transport)
            )
            known = [got for got in both if isinstance(got, str)]
            if known:
                return known[0]
        deadline = time.monotonic() + self.patience
        for attempt in itertools.count():
            got = await self._attempt(message, transport)
            if isinstance(got, str):
                return got
            if isinstance(got, Refused) and not got.again:
                return None
            undecided = isinstance(got, Undecided)
            old = message.client_id < self.oldest() <= uuid7()
            gives_up = undecided and (old or self.random.random() < self.abandon)
            if gives_up or time.monotonic() > deadline:
                return None
            await asyncio.sleep(self.random.random() * min(0.05 * 2**attempt, 1.0))
        return None

    async def _attempt(
        self, message: Outgoing, transport: Callable[[Outgoing], Awaitable[tuple[str, bool]]]
    ) -> str | Refused | Undecided:
        outcome = await self._try(message, transport)
        await self.attempted(outcome)
        return outcome

    async def _try(
        self, message: Outgoing, transport: Callable[[Outgoing], Awaitable[tuple[str, bool]]]
    ) -> str | Refused | Undecided:
        call: Call = self.recorder.invoke(self.process, "send", **message.recorded)
        try:
            message_id, duplicate = await transport(message)
        except Refused as exc:
            call.fail(why=str(exc))
            return exc
        except Undecided as exc:
            call.unknown(why=str(exc))
            return exc
        except asyncio.CancelledError:
            call.unknown(why="cancelled")
            raise
        call.ok(id=message_id, duplicate=duplicate)
        return message_id
