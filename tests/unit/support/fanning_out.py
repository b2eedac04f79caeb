"""A hub with a fan-out, and what its connections got."""

from __future__ import annotations

import asyncio
from typing import Any

from chatsvc.core.record import Record
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.selection import Selection
from chatsvc.delivery.spans import BEHIND
from chatsvc.log.acknowledgements import Acknowledgements
from testkit.selecting import SELECTION
from tests.unit.support.sockets import FakeTransport, attach, connection, texts


class Harness:
    """A hub with a fan-out, and what each connection got."""

    def __init__(self, selection: Selection = SELECTION) -> None:
        self.hub = Hub()
        self.delivered = 0
        self.behind: list[tuple[Connection, int]] = []
        self.steps = Acknowledgements()
        self.fanout = Fanout(self.hub, selection, self.steps, self._fell_behind, self._count)

    def _fell_behind(self, connection: Connection, position: int) -> None:
        connection.waiting = BEHIND
        self.behind.append((connection, position))

    def _count(self, frames: int) -> None:
        self.delivered += frames

    def join(self, user: str, device: str = "", **options: Any) -> FakeTransport:
        one = connection(user, device, **options)
        transport = attach(one)
        self.hub.add(one)
        return transport

    async def settle(self) -> None:
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
            while self.fanout._sweeping:  # noqa: ASYNC110 - it goes by turns of the loop
                await asyncio.sleep(0)
        assert self.fanout._runs == {}, "nothing is kept that nobody waits for"

    async def send(self, *records: Record) -> None:
        self.fanout.accept(records)
        await self.settle()


def got(transport: FakeTransport) -> list[int]:
    return [int(frame["id"], 16) for frame in texts(transport.wire)]
