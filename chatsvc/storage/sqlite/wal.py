"""The embedded store's write-ahead log, cut back after a burst.

SQLite moves its pages home as it goes and begins it anew when nobody reads from it. Under reads
that overlap it never is, and grows; and what has grown keeps its size on disk
(sqlite.org/wal.html, section 6).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from chatsvc.core.errors import StoreUnavailable

WAL_BYTES: Final = 32 * 1024 * 1024
"""Beyond this it is cut back."""
_PATIENCE_MS: Final = 200
_FIRST_PAUSE: Final = 0.5
_MAX_PAUSE: Final = 30.0

_logger = structlog.get_logger("chatsvc.store")


class WalShrinker:
    """Cut the write-ahead log back when it has grown.

    Args:
        path: the database's file.
        run: does work on the writer's connection.
        limit: bytes beyond which the write-ahead log is cut back.
    """

    def __init__(
        self,
        path: Path,
        run: Callable[[Callable[[sqlite3.Connection], bool]], Awaitable[bool]],
        *,
        limit: int = WAL_BYTES,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._run = run
        self._limit = limit
        self._first_pause = first_pause
        self._task: asyncio.Task[None] | None = None

    def after_write(self) -> None:
        """Look whether there is something to do; cheap."""
        if self._task is None and self._size() > self._limit:
            self._task = asyncio.get_running_loop().create_task(self._shrink(), name="shrink wal")

    async def stop(self) -> None:
        """Idempotent."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _shrink(self) -> None:
        pause = self._first_pause
        before = self._size()
        try:
            while self._size() > self._limit:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MAX_PAUSE)
                await self._run(truncate)
            _logger.info("store_wal_cut_back", before_bytes=before, after_bytes=self._size())
        except StoreUnavailable as exc:
            _logger.warning("store_wal_not_cut_back", error=str(exc))  # the next write looks again
        finally:
            self._task = None

    def _size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0


def truncate(db: sqlite3.Connection) -> bool:
    """Move all pages home and cut the write-ahead log to nothing; whether that was possible.

    Readers of an older state are waited for briefly. Those who begin meanwhile read the
    database itself, and are in nobody's way.
    """
    patience = db.execute("PRAGMA busy_timeout").fetchone()[0]
    db.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
    try:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout={patience}")
    return not busy
