"""Fifty clients that talk, listen and drop their sockets at random."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import aiohttp
from websockets.exceptions import ConnectionClosed

from testkit.talking import SOON, Talk, bearer, talk, token
from tests.integration.conftest import Serve

CLIENTS = 50
MESSAGES = 12
"""That each of them sends."""


class Member:
    """A client as the protocol asks: keeps its cursor, and sends again what was not
    acknowledged, under the same ``client_id``."""

    def __init__(self, number: int, rooms: list[list[str]]) -> None:
        self.user = f"user{number:02}"
        self.dice = random.Random(number)
        self.rooms = [room for room in rooms if self.user in room]
        self.cursor = ""
        self.got: list[str] = []
        self.unacked: dict[str, dict[str, Any]] = {}
        self.acked: list[str] = []
        self.to_send = MESSAGES
        self.drops = 0

    async def live(self, url: str) -> None:
        """Until everything is sent and acknowledged, over as many sockets as it takes."""
        while self.to_send or self.unacked:
            try:
                async with talk(url, self.user, since=self.cursor) as one:
                    for frame in list(self.unacked.values()):
                        await one.put(frame)
                    await self.chat(one)
            except ConnectionClosed:
                continue

    async def chat(self, one: Talk) -> None:
        for _ in range(self.dice.randint(1, 4)):
            for _ in range(min(self.to_send, self.dice.randint(0, 3))):
                await one.put(self.message())
            what = self.dice.random()
            if what < 0.35:
                self.drops += 1
                one.ws.transport.abort()
                return
            if what < 0.9:
                for frame in await one.ping():
                    self.handle(frame)

    def message(self) -> dict[str, Any]:
        self.to_send -= 1
        name = f"{self.user}-{self.to_send}"
        frame = {
            "type": "send",
            "ref": name,
            "client_id": name,
            "participants": self.dice.choice(self.rooms),
            "content": f"a secret that {name} tells",
        }
        self.unacked[name] = frame
        return frame

    def handle(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "message":
            assert frame["sender"] != self.user
            self.got.append(frame["id"])
            self.cursor = f"{self.cursor.partition('.')[0]}.{frame['id']}"
        elif frame["type"] == "ack":
            if self.unacked.pop(frame["ref"], None) is not None:
                self.acked.append(frame["id"])
        else:
            assert frame["type"] in ("caught_up", "cursor"), frame
            self.cursor = frame["cursor"]

    async def listen_until(self, url: str, count: int) -> None:
        """Come back a last time, and read until there are so many."""
        async with talk(url, self.user, since=self.cursor) as one, asyncio.timeout(SOON):
            assert one.hello["recovered"] is True
            while len(self.got) < count:
                self.handle(await one.next())
            for frame in await one.ping():
                self.handle(frame)


async def everything(url: str, user: str) -> list[dict[str, Any]]:
    """All messages of a user's conversations, by HTTP."""
    found: list[dict[str, Any]] = []
    after, more = "0" * 16, True
    async with aiohttp.ClientSession() as session:
        while more:
            query = {"after": after, "limit": "1000"}
            async with session.get(
                url + "/api/messages", params=query, headers=bearer(user)
            ) as answer:
                page = await answer.json()
            found += page["messages"]
            after, more = page["after"], page["has_more"]
    return found


async def test_everybody_ends_with_everything_once_in_order(serve: Serve) -> None:
    process, url = serve()
    dice = random.Random(7)
    names = [f"user{number:02}" for number in range(CLIENTS)]
    rooms = [dice.sample(names, dice.randint(2, 6)) for _ in range(60)]
    rooms += [[names[at], names[at - 1]] for at in range(CLIENTS)]
    members = [Member(number, rooms) for number in range(CLIENTS)]
    for member in members:
        async with talk(url, member.user) as one:
            member.cursor = one.hello["cursor"]
    await asyncio.wait_for(asyncio.gather(*(member.live(url) for member in members)), 90)
    assert sum(member.drops for member in members) > CLIENTS
    truth = {member.user: await everything(url, member.user) for member in members}
    for member in members:
        due = [one["id"] for one in truth[member.user] if one["sender"] != member.user]
        own = [one["id"] for one in truth[member.user] if one["sender"] == member.user]
        await member.listen_until(url, len(due))
        assert member.got == due
        assert own == sorted(own)
        assert set(own) == set(member.acked)
        assert len(own) == MESSAGES, "each once, however often it was sent"
    assert "a secret that" not in process.err
    assert "bearer" not in process.err.lower()
    assert token("user00").rpartition(".")[0].partition(".")[0] not in process.err
