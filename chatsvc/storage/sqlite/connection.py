"""The file of the embedded store, opened and closed, and the threads that work on it.

Writes have a connection and a thread of their own, history has a few, and what the service
itself asks has one: in WAL mode none of them waits for another. ``synchronous=FULL``: what is
said to be stored has been through fsync (sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chatsvc.core.errors import StoreUnavailable
from chatsvc.log.local.busy import retry_while_busy
from chatsvc.log.local.in_place import InPlace
from chatsvc.storage.ports.lifecycle import StoreLifecycle, Versions
from chatsvc.storage.sqlite.errors import misplaced
from chatsvc.storage.sqlite.migrations import bring_up, check_version, found_version
from chatsvc.storage.sqlite.tables import VERSION
from chatsvc.storage.sqlite.threads import SqliteThreads
from chatsvc.storage.sqlite.wal import WAL_BYTES, WalShrinker

HISTORY_READERS: Final = 3
"""Threads that read history; one user has one of them."""
OPEN_SECONDS: Final = 10.0


class SqliteFile(StoreLifecycle):
    """The file, its connections and their threads.

    Args:
        path: the file, made with its folder by :meth:`open`; SQLite puts two more
            beside it (``-wal`` and ``-shm``).
        busy_seconds: how long to wait for another process that holds the file.
        open_seconds: how long to try, where several processes open it at once.
        upgrades: whether :meth:`open` upgrades a file of any size, for as long as it takes.

    A file that is removed or replaced while it is open raises ``StoreUnavailable`` from then
    on. :meth:`open` opens the one that is there now; it makes none in place of one that is
    gone, or what was stored would be missing without a word.
    """

    def __init__(
        self, path: Path, *, busy_seconds: float, open_seconds: float, upgrades: bool
    ) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._open_seconds = open_seconds
        self._upgrades = upgrades
        self._writer = SqliteThreads("store-write", check=self._check_place)
        self._reader = SqliteThreads("store-read", check=self._check_place)
        self._history = SqliteThreads("store-history", HISTORY_READERS, check=self._check_place)
        self._place: InPlace | None = None
        self._shrinker = WalShrinker(path, self._writer.run)
        self._opening = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        async with self._opening:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._place is not None:
                if self._history.is_open and self._place.find_error() is None:
                    return
                await self._close_threads()
                if not self._path.exists():
                    raise misplaced(f"{self._path} was removed")
                self._place = None  # or the one that is there now would be held against it
            await self._writer.open(self._connect_writer)
            try:
                await self._reader.open(self._connect_reader)
                await self._history.open(self._connect_reader)
            except BaseException:
                await self._close_threads()
                raise
            self._place = InPlace(self._path)

    async def versions(self) -> Versions:
        if self._reader.is_open:
            found = await self._reader.run(found_version)
        else:
            found = await asyncio.to_thread(self._read_version, found_version)
        return Versions(found, VERSION)

    async def check_version(self) -> None:
        """Check that :meth:`open` would take the file's version; changes nothing.

        Raises:
            VersionTooNew, ConfigurationError: as :meth:`open`.
            StoreUnavailable: the file cannot be read.
        """
        await asyncio.to_thread(self._read_version, check_version)

    async def ping(self) -> None:
        await self._reader.run(lambda db: db.execute("SELECT 1 FROM meta LIMIT 1").fetchone())

    async def close(self) -> None:
        async with self._opening:
            self._closed = True
            await self._shrinker.stop()
            await self._close_threads()

    async def _close_threads(self) -> None:
        threads = (self._history, self._reader, self._writer)
        for one in threads:
            one.end()  # all of them first: whoever waits may be cancelled at the first
        for one in threads:
            await one.close()
        if self._place is not None:
            await asyncio.to_thread(self._place.drop_left_wal)

    def _check_place(self) -> None:
        """In the threads, before each piece of work."""
        try:
            error = self._place.find_error() if self._place is not None else None
        except OSError as exc:
            raise StoreUnavailable(f"the store's file cannot be looked at: {exc}") from exc
        if error is not None:
            raise misplaced(error)

    def _connect_writer(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(f"the store's folder cannot be made: {exc}") from exc
        return retry_while_busy(self._make_writer, self._open_seconds)

    def _make_writer(self) -> sqlite3.Connection:
        db = self._connect(str(self._path))
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
            bring_up(db, upgrades=self._upgrades)
        except BaseException:
            db.close()
            raise
        return db

    def _connect_reader(self) -> sqlite3.Connection:
        db = self._connect(str(self._path))
        try:
            db.execute("PRAGMA query_only=1")
            retry_while_busy(lambda: found_version(db), self._open_seconds)
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self, target: str, *, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(
            target,
            timeout=self._busy_seconds,
            isolation_level=None,  # transactions are begun and ended by name
            check_same_thread=False,
            cached_statements=256,
            uri=uri,
        )

    def _read_version(self, read: Callable[[sqlite3.Connection], int]) -> int:
        if not self._path.exists():
            return 0
        try:
            db = self._connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                return retry_while_busy(lambda: read(db), self._busy_seconds)
            finally:
                db.close()
        except sqlite3.Error as exc:
            raise StoreUnavailable(f"the store's file cannot be read: {exc}") from exc
