"""Kill the service in the middle of a burst of sends, start it again, and count.

What was acknowledged is held against history, by id and content, and against what a listener
received, who came back after each crash. See ``scripts/transcripts.py``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aiohttp

from chatsvc.client import ChatApi, ChatClient, Connected, Message, MessageReceived
from testkit.client_events import until
from testkit.restartable import Service

SENDERS = 32
PATIENCE = 60.0
"""Seconds to connect, and for a burst to reach its number."""
PEOPLE = ["alice", "bob"]


class Burst(NamedTuple):
    """One burst: what was acknowledged (id → content), and the sends that got no answer."""

    acknowledged: dict[str, str]
    unanswered: int


async def kill_and_count(service: Service, rounds: int) -> str:
    """Do so, and tell it as a table.

    Raises:
        SystemExit: something that was acknowledged is missing, doubled or out of order.
    """
    acknowledged: dict[str, str] = {}
    heard: list[Message] = []
    rows = [
        ("round", "acknowledged", "unanswered", "in history", "of them acknowledged", "missing")
    ]
    listener = ChatClient(service.url, _login(service.url, "bob"))
    connected = asyncio.Event()
    listening = asyncio.create_task(_listen(listener, heard, connected))
    try:
        async with asyncio.timeout(PATIENCE):
            await connected.wait()
        for number in range(1, rounds + 1):
            burst = await _burst(service, number, random.randint(300, 1500))
            acknowledged |= burst.acknowledged
            service.start()
            history = await _history(service.url)
            missing = _hold(acknowledged, history, "history")
            found = len(acknowledged) - len(missing)
            cells = (number, len(acknowledged), burst.unanswered, len(history), found, len(missing))
            rows.append(tuple(map(str, cells)))
        await until(lambda: len(heard) >= len(history))
        _hold(acknowledged, heard, "what Bob received")
        await listener.close()
        await listening
    finally:
        listening.cancel()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    first, last = history[0].id, history[-1].id
    return (
        f"{SENDERS} connections send as fast as they can; in the middle of it, kill -9; then the\n"
        "service is started again, and the whole of history is read. The numbers grow from\n"
        "round to round. A send without an answer may be in history or not: nobody was told.\n\n"
        f"{table}\n\n"
        f"Ids of history: {first} to {last}, strictly ascending, none twice.\n"
        f"Bob, who was connected and came back by himself after each crash, received\n"
        f"{len(heard)} messages: each of history once, in its order.\n"
    )


async def _burst(service: Service, number: int, enough: int) -> Burst:
    """Send until so many are acknowledged; kill the service while others are under way."""
    token = await _login(service.url, "alice")()
    acknowledged: dict[str, str] = {}
    reached = asyncio.Event()
    unanswered = 0

    async def send(session: aiohttp.ClientSession, sender: int) -> None:
        nonlocal unanswered
        count = 0
        while True:
            count += 1
            content = f"round {number}, sender {sender}, message {count}"
            body = {"participants": PEOPLE, "content": content}
            try:
                async with session.post(f"{service.url}/api/messages", json=body) as answer:
                    if answer.status != 201:
                        raise SystemExit(f"kill: {answer.status} {await answer.text()}")
                    acknowledged[(await answer.json())["id"]] = content
            except aiohttp.ClientError:
                unanswered += 1
                return
            if len(acknowledged) >= enough:
                reached.set()

    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as senders:
        for sender in range(SENDERS):
            senders.create_task(send(session, sender))
        async with asyncio.timeout(PATIENCE):
            await reached.wait()
        await asyncio.to_thread(service.kill)
    return Burst(acknowledged, unanswered)


async def _history(url: str) -> list[Message]:
    """All of it, oldest first."""
    found: list[Message] = []
    async with ChatApi(url, _login(url, "alice")) as api:
        while True:
            after = found[-1].id if found else "0" * 16
            page = await api.history(PEOPLE, limit=1000, after=after)
            if not page.complete:
                raise SystemExit("kill: history is not complete")
            found += page.messages
            if not page.has_more:
                return found


async def _listen(client: ChatClient, heard: list[Message], connected: asyncio.Event) -> None:
    async with client:
        async for event in client:
            if isinstance(event, MessageReceived):
                heard.append(event)
            elif isinstance(event, Connected):
                connected.set()


def _hold(acknowledged: dict[str, str], found: list[Message], where: str) -> list[str]:
    """The acknowledged ids that are missing: none."""
    contents = {message.id: message.content for message in found}
    missing = [key for key, content in acknowledged.items() if contents.get(key) != content]
    ids = [message.id for message in found]
    if missing:
        raise SystemExit(f"kill: {where} lacks {len(missing)} acknowledged, first {missing[0]}")
    if ids != sorted(set(ids)) or len(set(contents.values())) != len(ids):
        raise SystemExit(f"kill: {where} is out of order, or holds something twice")
    return missing


def _login(url: str, user: str) -> Callable[[], Awaitable[str]]:
    """Asks the development login."""

    async def token() -> str:
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.post(f"{url}/api/dev/token", json={"user": user}) as answer,
        ):
            return str((await answer.json())["token"])

    return token
