"""So many sends a second, whatever the answers take: an open load, as users are one."""

from __future__ import annotations

import asyncio
import random
import time

from tests.fault.kit.clients import Delivery, Outgoing, Refused, Undecided
from tests.fault.kit.workload import Workload


class Steady:
    """Sends over HTTP beside a workload, recorded as the workload's own.

    ``late`` is how far behind its schedule the last send began, in seconds: if that
    grows, it is the load that could not keep up.
    """

    def __init__(self, load: Workload, rate: float, *, padding: int = 0, seed: int = 2) -> None:
        self.load = load
        self.padding = " " + "x" * padding
        self.rate = rate
        self.sent = 0
        self.not_accepted = 0
        self.late = 0.0
        self._random = random.Random(seed)
        self._delivery = Delivery(
            load.recorder, "steady", self._random, self._attempted, abandon=0.0, twins=0.0
        )

    async def run(self, seconds: float) -> None:
        """Until so many seconds are over and everything was answered."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as sends:
            for number in range(int(seconds * self.rate)):
                due = began + number / self.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.late = time.monotonic() - due
                sends.create_task(self._send(number))

    async def _send(self, number: int) -> None:
        conversation = self._random.choice(self.load.conversations)
        sender = self._random.choice(conversation)
        message = Outgoing(sender, conversation, f"steady {number}{self.padding}", "steady")
        self.sent += 1
        got = await self._delivery.deliver(message, self.load.http.send)
        if got is not None:
            await self.load.acknowledge(conversation, sender, got)

    async def _attempted(self, outcome: str | Refused | Undecided) -> None:
        self.not_accepted += not isinstance(outcome, str)
