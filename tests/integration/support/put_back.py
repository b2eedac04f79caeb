"""Logs that are opened one after the other over one store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chatsvc.core.kinds import Kinds
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.log.local.log import LocalLog
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.store_state import state_of
from testkit.waiting import until


class Deployment:
    """Opens logs over one store.

    Args:
        folder: has the folders of the logs, and the store.
        store: not open yet.
        kinds: those that the store takes.
    """

    def __init__(self, folder: Path, store: SqliteStore, kinds: Kinds = MESSAGES_ONLY) -> None:
        self.folder = folder
        self.store = store
        self._kinds = kinds
        self._log: LocalLog | None = None

    @property
    def log(self) -> LocalLog:
        """The one that was opened last."""
        assert self._log is not None
        return self._log

    async def open_log(self, name: str, *, met: bool = True) -> LocalLog:
        """Close the log that is open, and open another.

        Args:
            met: whether the store answers.
        """
        await self.close()
        self._log = await LocalLog.open(
            self.folder / name,
            recent_bytes=0,
            backlog_bytes=1 << 30,
            idempotency_ms=600_000,
            idempotency_keys=1000,
            retention_ms=3_600_000,
            store=await state_of(self.store) if met else None,
        )
        return self._log

    async def store_until(self, done: Callable[[LocalLog], bool]) -> None:
        """Let log and store meet, and store until it is done."""
        log = self.log
        persister = Persister(log, self.store, batch_ms=0, kinds=self._kinds)
        persister.start()
        await until(lambda: log.tail.confirmed and done(log))
        await persister.stop(drain=True)

    async def close(self) -> None:
        """Close the log, if one is open."""
        if self._log is not None:
            await self._log.close()
