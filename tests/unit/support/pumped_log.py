"""A log on a disk that ends each write by itself, a few turns of the loop later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chatsvc.core.record import Draft
from chatsvc.log.base import Appended, LogAppender
from chatsvc.log.guards import Guard
from chatsvc.log.idempotency import Known
from tests.unit.support.commit_disk import Disk, turn


class PumpedLog(LogAppender):
    """Appends to a :class:`Disk`. ``head``: the last id that was accepted."""

    def __init__(self) -> None:
        self.disk = Disk()
        self._pump: asyncio.Task[None] | None = None

    @property
    def head(self) -> int:
        return self.disk.records[-1].id if self.disk.records else 0

    def append(self, draft: Draft) -> asyncio.Future[Appended]:
        self._start()
        return self.disk.commit.append(draft)

    def append_all(
        self, drafts: Sequence[Draft], guard: Guard | None = None
    ) -> asyncio.Future[list[Appended]]:
        self._start()
        return self.disk.commit.append_all(drafts, guard)

    def _start(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        await turn()
        while self.disk.is_writing:
            self.disk.finish()
            await turn()

    def knows_key(self, key: tuple[str, str, str]) -> bool:
        return True

    def first_use(self, key: tuple[str, str, str]) -> Known | None:
        return self.disk.commit.keys.get(key)

    def uses_key(self, key: tuple[str, str, str]) -> bool:
        return self.first_use(key) is not None

    def used_above(self, key: tuple[str, str, str]) -> int:
        return 0

    @property
    def forgotten_are_stored(self) -> bool:
        return True
