"""When a consumer waits: for records, for a batch to fill, between rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from chatsvc.core.record import Record
from chatsvc.storage.consumer.status import ConsumerStatus


class Source(Protocol):
    """Which records come next."""

    def has_work(self) -> bool:
        """Whether there may be a record to be done."""

    def is_full(self) -> bool:
        """Whether there is enough for a batch."""

    def advance(self, position: int) -> None:
        """Note that everything up to here is done."""


class Target(Protocol):
    """Where the effects of a consumer go."""

    must_look: bool
    """Whether it is to be looked at before anything is written."""
    is_back: bool
    """Whether it answers again, and was not looked at since."""

    async def answers(self) -> bool:
        """Whether it answers."""


class Pauses:
    """The waits of one consumer, all of which end when it is to stop.

    Args:
        source: tells whether there is something to do, and whether a batch is full.
        target: where it goes.
        status: tells whether the consumer has stopped by itself.
        batch_seconds: how long a batch waits for more records.
        probe_seconds: how often a target that is unavailable is asked whether it is back.
        look_seconds: how long to wait for records before the target is looked at.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        status: ConsumerStatus,
        *,
        batch_seconds: float,
        probe_seconds: float,
        look_seconds: float,
    ) -> None:
        self._source = source
        self._target = target
        self._status = status
        self._batch_seconds = batch_seconds
        self._probe_seconds = probe_seconds
        self._look_seconds = look_seconds
        self._wake = asyncio.Event()
        self.stopping = asyncio.Event()
        """Set once the consumer is to stop."""
        self.idle = False
        """Whether it waits for a record."""

    def stop(self) -> None:
        """End every wait."""
        self.stopping.set()
        self._wake.set()

    def wake(self) -> None:
        """End the wait for a record: there is something to look at."""
        self._wake.set()

    def on_records(self, _: Sequence[Record]) -> None:
        """End the wait that these records end."""
        if self.idle or self._source.is_full():
            self._wake.set()

    def is_over(self) -> bool:
        """Whether nothing more is begun."""
        return self.stopping.is_set() or self._status.has_stopped()

    async def gather(self, look: Callable[[], Awaitable[None]]) -> None:
        """Wait for a record, then until a batch is full or its time is over.

        Args:
            look: called when it is time to look at the target, while there is nothing to do.
        """
        while not self.is_over() and not self._source.has_work():
            self.idle = True
            self._wake.clear()
            if not self._target.is_back and await self._woken():
                continue
            await look()
        self.idle = False
        deadline = asyncio.get_running_loop().time() + self._batch_seconds
        try:
            async with asyncio.timeout_at(deadline):
                while not self.is_over() and not self._source.is_full():
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

    async def until_look(self) -> None:
        """Wait until it is time to look at the target, whatever there is to do."""
        pause = self._probe_seconds if self._target.must_look else self._look_seconds
        try:
            async with asyncio.timeout(pause):
                while not self.stopping.is_set() and not self._target.is_back:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

    async def rest(self, seconds: float) -> None:
        """Between rounds: until the time is over, or a target that was unavailable answers again.

        One that answers, and still takes no writes, is left alone for the whole time.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        unavailable = answers = False
        while not self.is_over() and (left := deadline - now()) > 0:
            if self._target.is_back:
                return
            answers = answers or await self._target.answers()
            if answers and unavailable:
                return
            unavailable = not answers
            await self.pause(min(self._probe_seconds, left))

    async def pause(self, seconds: float) -> None:
        """Sleep, unless it is time to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return

    async def _woken(self) -> bool:
        """Whether there is a cause to go on before it is time to look at the target."""
        pause = self._probe_seconds if self._target.must_look else self._look_seconds
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True
