"""The embedded store: one SQLite file, for a chat backend without a database.

Writes have a connection and a thread of their own, history has a few, and what the service
itself asks has one: in WAL mode none of them waits for another. ``synchronous=FULL``: what is
said to be stored has been through fsync (sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import asyncio
import builtins
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.log.local.busy import retry_while_busy
from chatsvc.log.local.in_place import InPlace
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.client_ids import ClientIdAt, PastClientIds
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.ports.dead_letters import DeadLetter, DeadLetters
from chatsvc.storage.ports.lifecycle import Versions
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.sqlite import dead_letters as dead_letter_rows
from chatsvc.storage.sqlite import rows
from chatsvc.storage.sqlite.schema import STEPS, bring_up, found_version
from chatsvc.storage.sqlite.threads import SqliteThreads
from chatsvc.storage.sqlite.wal import WAL_BYTES, WalShrinker

HISTORY_READERS: Final = 3
"""Threads that read history; one user has one of them."""
_OPEN_SECONDS: Final = 10.0

_UNFIT: Final = (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError)
"""What a value can cause that SQLite cannot hold; anything else is the file's state."""


class SqliteStore(MessageStore):
    """A :class:`~chatsvc.storage.ports.message_store.MessageStore` in one file.

    Args:
        path: the file, made with its folder by :meth:`open`; SQLite puts two more
            beside it (``-wal`` and ``-shm``).
        busy_seconds: how long to wait for another process that holds the file.
        open_seconds: how long to try, where several processes open it at once.

    A file that is removed or replaced while it is open raises ``StoreUnavailable`` from then
    on. :meth:`open` opens the one that is there now; it makes none in place of one that is
    gone, or what was stored would be missing without a word.
    """

    reads_at_once = HISTORY_READERS

    def __init__(
        self, path: Path, *, busy_seconds: float = 2.0, open_seconds: float = _OPEN_SECONDS
    ) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._open_seconds = open_seconds
        self._writer = SqliteThreads("store-write", check=self._check_place)
        self._reader = SqliteThreads("store-read", check=self._check_place)
        self._history = SqliteThreads("store-history", HISTORY_READERS, check=self._check_place)
        self._place: InPlace | None = None
        self._shrinker = WalShrinker(path, self._writer.run)
        self._opening = asyncio.Lock()
        self._closed = False
        self.dead_letters = _SqliteDeadLetters(self._writer, self._reader)

    async def open(self) -> None:
        async with self._opening:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._place is not None:
                if self._history.is_open and self._place.find_error() is None:
                    return
                await self._close_threads()
                await asyncio.to_thread(self._place.drop_left_wal)
                if not self._path.exists():
                    raise _misplaced(f"{self._path} was removed")
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
            found = await asyncio.to_thread(self._version_on_disk)
        return Versions(found, len(STEPS))

    async def identity(self) -> str:
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
        rejections = await self._writer.run(lambda db: _write(db, records))
        self._shrinker.after_write()
        return rejections

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        return await self._history.run(lambda db: rows.channel_page(db, channel, bounds))

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._history.run(lambda db: rows.user_page(db, user, bounds))

    async def count_user(self, user: str, bounds: Bounds) -> int:
        return await self._history.run(lambda db: rows.count_user(db, user, bounds))

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        return await self._history.run(
            lambda db: rows.conversations(db, user, before, limit, max_bytes)
        )

    async def members(self, user: str, channel: str) -> Members | None:
        return await self._history.run(lambda db: rows.members(db, user, channel))

    async def get(self, message_id: int) -> Entry | None:
        return await self._history.run(lambda db: rows.message(db, message_id))

    async def find_client_id(
        self,
        sender: str,
        channel: str,
        client_id: str,
        *,
        after: int = 0,
        dead_letters: bool = True,
    ) -> tuple[int, bytes] | None:
        key = sender, channel, client_id
        return await self._history.run(lambda db: rows.find_client_id(db, key, after, dead_letters))

    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        return await self._reader.run(lambda db: rows.past_client_ids(db, limit, since_ms))

    async def client_ids_above(self, after: int, limit: int) -> Sequence[ClientIdAt]:
        return await self._reader.run(lambda db: rows.client_ids_above(db, after, limit))

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        count = await self._writer.run(lambda db: rows.purge(db, before_id, limit))
        self._shrinker.after_write()
        return count

    async def ping(self) -> None:
        await self._reader.run(lambda db: db.execute("SELECT 1 FROM meta LIMIT 1").fetchone())

    async def close(self) -> None:
        async with self._opening:
            self._closed = True
            await self._shrinker.stop()
            await self._close_threads()

    async def _close_threads(self) -> None:
        await self._history.close()
        await self._reader.close()
        await self._writer.close()

    def _check_place(self) -> None:
        """In the threads, before each piece of work."""
        try:
            error = self._place.find_error() if self._place is not None else None
        except OSError as exc:
            raise StoreUnavailable(f"the store's file cannot be looked at: {exc}") from exc
        if error is not None:
            raise _misplaced(error)

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
            bring_up(db)
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

    def _version_on_disk(self) -> int:
        if not self._path.exists():
            return 0
        try:
            db = self._connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                return retry_while_busy(lambda: found_version(db), self._busy_seconds)
            finally:
                db.close()
        except sqlite3.Error as exc:
            raise StoreUnavailable(f"the store's file cannot be read: {exc}") from exc


def _misplaced(error: str) -> StoreUnavailable:
    return StoreUnavailable(f"the store's file: {error}", code="store_file_missing")


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

    def __init__(self, writer: SqliteThreads, reader: SqliteThreads) -> None:
        self._writer = writer
        self._reader = reader

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        await self._writer.run(lambda db: dead_letter_rows.put(db, letters))

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

    async def newest(self) -> DeadLetter | None:
        return await self._reader.run(dead_letter_rows.newest)

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
