"""When the persister waits: for records, for a batch to fill, between rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from chatsvc.core.record import Record
from chatsvc.storage.persister.attached_store import AttachedStore
from chatsvc.storage.persister.batches import BatchSource
from chatsvc.storage.persister.status import PersisterStatus


class Pauses:
    """The waits of one persister, all of which end when it is to stop.

    Args:
        source: tells whether there is something to store, and whether a batch is full.
        attached: the store.
        status: tells whether the persister has stopped by itself.
        batch_seconds: how long a batch waits for company.
        probe_seconds: how often a store that is gone is asked whether it is back.
        look_seconds: how long to wait for records before the store is looked at.
    """

    def __init__(
        self,
        source: BatchSource,
        attached: AttachedStore,
        status: PersisterStatus,
        *,
        batch_seconds: float,
        probe_seconds: float,
        look_seconds: float,
    ) -> None:
        self._source = source
        self._attached = attached
        self._status = status
        self._batch_seconds = batch_seconds
        self._probe_seconds = probe_seconds
        self._look_seconds = look_seconds
        self._wake = asyncio.Event()
        self.stopping = asyncio.Event()
        """Set once the persister is to stop."""
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
            look: called when it is time to look at the store, while there is nothing to do.
        """
        while not self.is_over() and not self._source.has_work():
            self.idle = True
            self._wake.clear()
            if not self._attached.is_back and await self._woken():
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
        """Wait until it is time to look at the store, whatever there is to store."""
        pause = self._probe_seconds if self._attached.must_look else self._look_seconds
        try:
            async with asyncio.timeout(pause):
                while not self.stopping.is_set() and not self._attached.is_back:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

    async def rest(self, seconds: float) -> None:
        """Between rounds: until the time is over, or a store that was gone answers again.

        One that answers, and still takes no writes, is left alone for the whole time.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        unavailable = answers = False
        while not self.is_over() and (left := deadline - now()) > 0:
            if self._attached.is_back:
                return
            answers = answers or await self._attached.answers()
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
        """Whether there is a cause to go on before it is time to look at the store."""
        pause = self._probe_seconds if self._attached.must_look else self._look_seconds
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True
