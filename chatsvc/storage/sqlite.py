"""The embedded store: one SQLite file, for a chat backend without a database.

Writes have a connection and a thread of their own, and so have reads: in WAL mode
neither waits for the other. ``synchronous=FULL``: what is said to be stored has been
through fsync (sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import asyncio
import builtins
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.storage import sqlite_rows as rows
from chatsvc.storage.base import (
    Conversation,
    DeadLetter,
    DeadLetters,
    MessageStore,
    Rejection,
    Versions,
)
from chatsvc.storage.sqlite_schema import STEPS, bring_up, found_version

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_UNFIT: Final = (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError)
"""What a value can cause that SQLite cannot hold; anything else is the file's state."""


class _Thread:
    """A connection, and the only thread that uses it."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._db: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        return self._db is not None

    async def connect(self, make: Callable[[], sqlite3.Connection]) -> None:
        self._db = await self._submit(make)

    async def run(self, work: Work[T]) -> T:
        db = self._db
        if db is None:
            raise StoreUnavailable("the store is not open")
        return await self._submit(lambda: work(db))

    async def _submit(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except sqlite3.Error as exc:
            raise StoreUnavailable(f"the store's file cannot be used: {exc}") from exc

    async def disconnect(self) -> None:
        """Give the connection up; another may be made."""
        db, self._db = self._db, None
        if db is not None:
            await self._submit(db.close)

    async def close(self) -> None:
        await self.disconnect()
        self._executor.shutdown(wait=False)


class SqliteStore(MessageStore):
    """A :class:`~chatsvc.storage.base.MessageStore` in one file.

    Args:
        path: the file, made with its folder by :meth:`open`; SQLite puts two more
            beside it (``-wal`` and ``-shm``).
        busy_seconds: how long to wait for another process that holds the file.
    """

    def __init__(self, path: Path, *, busy_seconds: float = 2.0) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._writer = _Thread("store-write")
        self._reader = _Thread("store-read")
        self._opening = asyncio.Lock()
        self._wal = path.with_name(f"{path.name}-wal")
        self._inode: tuple[int, int] | None = None
        self._wal_inode: tuple[int, int] | None = None
        self._closed = False
        self.dead_letters = _SqliteDeadLetters(self._writer, self._reader)

    async def open(self) -> None:
        async with self._opening:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if not self._writer.is_open:
                await self._writer.connect(self._connect_writer)
            if not self._reader.is_open:
                await self._reader.connect(self._connect_reader)

    async def versions(self) -> Versions:
        if self._reader.is_open:
            found = await self._reader.run(found_version)
        else:
            found = await asyncio.to_thread(self._version_on_disk)
        return Versions(found, len(STEPS))

    async def identity(self) -> str:
        await self._follow_file()
        found = await self._reader.run(lambda db: rows.meta(db, "identity"))
        if found is None:
            raise StoreUnavailable("the store's file has lost its name")
        return found

    async def watermark(self) -> Mark | None:
        return await self._reader.run(rows.watermark)

    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        return await self._writer.run(lambda db: rows.set_watermark(db, expected, new))

    async def head(self) -> int:
        return await self._reader.run(rows.head)

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        if not records:
            return []
        return await self._writer.run(lambda db: _write(db, records))

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        return await self._reader.run(lambda db: rows.channel_page(db, channel, bounds))

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._reader.run(lambda db: rows.user_page(db, user, bounds))

    async def count_user(self, user: str, bounds: Bounds) -> int:
        return await self._reader.run(lambda db: rows.count_user(db, user, bounds))

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        return await self._reader.run(
            lambda db: rows.conversations(db, user, before, limit, max_bytes)
        )

    async def get(self, message_id: int) -> Entry | None:
        return await self._reader.run(lambda db: rows.message(db, message_id))

    async def find_client_id(
        self, sender: str, channel: str, client_id: str
    ) -> tuple[int, bytes] | None:
        return await self._reader.run(
            lambda db: rows.find_client_id(db, sender, channel, client_id)
        )

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        return await self._writer.run(lambda db: rows.purge(db, before_id, limit))

    async def ping(self) -> None:
        await self._reader.run(lambda db: db.execute("SELECT 1 FROM meta LIMIT 1").fetchone())

    async def close(self) -> None:
        async with self._opening:
            self._closed = True
            await self._reader.close()
            await self._writer.close()

    async def _follow_file(self) -> None:
        """Where another file was put in the place of the one that is open, open that.

        Raises:
            StoreUnavailable: there is none.
        """
        async with self._opening:
            if not self._writer.is_open or await asyncio.to_thread(self._is_in_place):
                return
            await self._reader.disconnect()
            await self._writer.disconnect()
            await asyncio.to_thread(self._drop_old_wal)
        await self.open()

    def _is_in_place(self) -> bool:
        try:
            found = _inode(self._path)
        except OSError as exc:
            raise StoreUnavailable(f"the store's file is gone: {exc.strerror}") from exc
        if found == self._inode:
            self._wal_inode = _inode_if_there(self._wal)
        return found == self._inode

    def _drop_old_wal(self) -> None:
        # SQLite leaves it where the file is no longer its own, and whoever opens the new file
        # would find the old one's pages beside it, and take them for its own.
        if self._wal_inode is not None and _inode_if_there(self._wal) == self._wal_inode:
            self._wal.unlink()
            self._wal.with_name(f"{self._path.name}-shm").unlink(missing_ok=True)

    def _connect_writer(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(f"the store's folder cannot be made: {exc}") from exc
        db = self._connect(str(self._path))
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            bring_up(db)
            self._inode = _inode(self._path)
            self._wal_inode = _inode_if_there(self._wal)
        except BaseException:
            db.close()
            raise
        return db

    def _connect_reader(self) -> sqlite3.Connection:
        db = self._connect(str(self._path))
        db.execute("PRAGMA query_only=1")
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

    def _version_on_disk(self) -> int:
        if not self._path.exists():
            return 0
        try:
            db = self._connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                return found_version(db)
            finally:
                db.close()
        except sqlite3.Error as exc:
            raise StoreUnavailable(f"the store's file cannot be read: {exc}") from exc


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _inode_if_there(path: Path) -> tuple[int, int] | None:
    try:
        return _inode(path)
    except FileNotFoundError:
        return None


def _write(db: sqlite3.Connection, records: Sequence[Record]) -> list[Rejection]:
    """A batch in one transaction; one that fails for a value is halved until it is found."""
    try:
        return rows.write_records(db, records)
    except _UNFIT as exc:
        if len(records) == 1:
            reason = f"SQLite cannot hold it: {type(exc).__name__}"
            return [Rejection(records[0], "unfit", reason)]
    middle = len(records) // 2
    return _write(db, records[:middle]) + _write(db, records[middle:])


class _SqliteDeadLetters(DeadLetters):
    """In a table beside the messages."""

    def __init__(self, writer: _Thread, reader: _Thread) -> None:
        self._writer = writer
        self._reader = reader

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        def insert(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany("INSERT OR REPLACE INTO dead_letters VALUES (?,?,?,?,?)", letters)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

        await self._writer.run(insert)

    async def list(self, *, after: int = 0, limit: int = 100) -> builtins.list[DeadLetter]:
        def read(db: sqlite3.Connection) -> builtins.list[DeadLetter]:
            found = db.execute(
                "SELECT id, code, reason, at_ms, data FROM dead_letters"
                " WHERE id > ? ORDER BY id LIMIT ?",
                (min(after, rows.MAX_ROW_ID), limit),
            )
            return [DeadLetter(*row) for row in found]

        return await self._reader.run(read)

    async def get(self, letter_id: int) -> DeadLetter | None:
        found = await self.list(after=letter_id - 1, limit=1)
        return found[0] if found and found[0].id == letter_id else None

    async def drop(self, ids: Sequence[int]) -> int:
        def delete(db: sqlite3.Connection) -> int:
            named = "SELECT value FROM json_each(?)"
            return db.execute(
                f"DELETE FROM dead_letters WHERE id IN ({named})", (str(builtins.list(ids)),)
            ).rowcount

        return await self._writer.run(delete)

    async def count(self) -> int:
        def read(db: sqlite3.Connection) -> int:
            return int(db.execute("SELECT count(*) FROM dead_letters").fetchone()[0])

        return await self._reader.run(read)
