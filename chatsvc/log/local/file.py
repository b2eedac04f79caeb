"""The local log's file: SQLite in WAL mode, one row a record, each with a CRC.

Everything here blocks; it runs in the log's own thread (``log/local/log.py``) or in the
command line. sqlite3's errors are translated here and go no further.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import string
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

from chatsvc import logs
from chatsvc.core.errors import ConfigurationError, LogDamaged, LogUnavailable, VersionTooNew
from chatsvc.core.ids import format_id, now_ms
from chatsvc.core.record import Record, checksum, unpack
from chatsvc.line_writer import write_within
from chatsvc.log.local.busy import BUSY, is_busy, primary_code, retry_while_busy
from chatsvc.log.local.damage import refuse_damage

SCHEMA_VERSION: Final = 1
EXIT_DISK_FAILED: Final = 74  # EX_IOERR of sysexits.h
_STANDARD_ERROR: Final = 2
WAL_BYTES: Final = 16 * 1024 * 1024
"""The write-ahead log is cut back to this once a burst is over."""
COMMIT_PATIENCE_MS: Final = 1000
"""How long a commit waits for another process that holds the file."""
_PATIENCE_MS: Final = 5000
_SHRINK_PATIENCE_MS: Final = 100
_OPEN_SECONDS: Final = 10.0
_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
_PAGE: Final = 4096
CHECKED_BYTES: Final = 256 * 1024 * 1024
"""Up to this size the pages of the file are checked at each start."""

NOTHING_ELSE: Final[Mapping[str, str | int]] = MappingProxyType({})

Row = tuple[int, int, bytes]
"""``(id, crc, data)``."""

_ACCESS_ERRORS: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
)
_IO_ERRORS: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class LogFile:
    """``DATA_DIR/log.db``, opened and verified.

    Args:
        path: the database file; made with a new epoch if it is not there.
        accept_loss: open it whatever its write-ahead log has lost.

    Raises:
        LogDamaged: the write-ahead log lost more than a crash can tear; nothing was
            touched, and a copy was made.
        VersionTooNew: written by a newer program.
        ConfigurationError: the file cannot be used, or another program holds it.
    """

    def __init__(self, path: Path, *, accept_loss: bool = False) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.torn_at = None if accept_loss else refuse_damage(path)
        self._inserts: dict[int, str] = {}
        self._since_checkpoint = 0
        self._patience_ms = _PATIENCE_MS
        self._waits_ms = -1
        try:
            retry_while_busy(self._connect, _OPEN_SECONDS)
        except sqlite3.DatabaseError as exc:
            if is_busy(exc):
                raise ConfigurationError(f"DATA_DIR: another program holds {path}: {exc}") from exc
            if primary_code(exc) in _ACCESS_ERRORS:
                raise ConfigurationError(f"DATA_DIR: cannot use {path}: {exc}") from exc
            raise LogDamaged(f"{path} cannot be opened as a log: {exc}; {_REMEDY}") from exc

    def _connect(self) -> None:
        self._db = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=300
        )
        self._waits_ms = -1
        try:
            self._wait_up_to(self._patience_ms)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            self._db.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
            self._prepare()
        except BaseException:
            self._db.close()  # and with it a transaction that was begun
            raise

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise VersionTooNew(
                f"{self.path} has version {version}; this program knows up to {SCHEMA_VERSION}"
            )
        if version == 0:
            self._db.execute("BEGIN IMMEDIATE")
            if self._db.execute("PRAGMA user_version").fetchone()[0]:
                self._db.execute("ROLLBACK")  # another process was first
                return
            self._db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
            self._db.execute(
                "CREATE TABLE records (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL,"
                " data BLOB NOT NULL)"
            )
            self.set_meta("epoch", new_epoch())
            self.set_meta("created_ms", now_ms())
            self.set_meta("trimmed", 0)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self._db.execute("COMMIT")

    def meta(self, key: str) -> object:
        """A value kept beside the records, or ``None``."""
        row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return row[0] if row else None

    def set_meta(self, key: str, value: str | int) -> None:
        """Keep a value beside the records; durable on return unless in a transaction."""
        self._write(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value=excluded.value",
            (key, value),
        )

    def set_metas(self, values: Mapping[str, str | int]) -> None:
        """Several of them, all or none."""
        with self._transaction():
            for key, value in values.items():
                self.set_meta(key, value)

    def get(self, record_id: int) -> Record | None:
        """One record, unchecked."""
        found = self._db.execute("SELECT data FROM records WHERE id=?", (record_id,)).fetchone()
        return unpack(record_id, found[0]) if found is not None else None

    def lowest(self) -> int:
        """The lowest id, 0 if there is none."""
        return int(self._db.execute("SELECT min(id) FROM records").fetchone()[0] or 0)

    def count_between(self, after: int, up_to: int) -> int:
        """How many records lie above ``after``, up to and with ``up_to``."""
        found = self._db.execute(
            "SELECT count(*) FROM records WHERE id > ? AND id <= ?", (after, up_to)
        )
        return int(found.fetchone()[0])

    def below(self, position: int, count: int) -> int:
        """A position with ``count`` records between it and ``position``.

        0 if there are not so many.
        """
        found = self._db.execute(
            "SELECT id FROM records WHERE id <= ? ORDER BY id DESC LIMIT 1 OFFSET ?",
            (position, count),
        ).fetchone()
        return int(found[0]) if found else 0

    def below_bytes(self, position: int, size: int, each: int) -> int:
        """A position with about ``size`` bytes between it and ``position``.

        ``each`` is counted for a record beside its data. 0 if there are not so many.
        """
        rows = self._db.execute(
            "SELECT id, length(data) FROM records WHERE id <= ? ORDER BY id DESC", (position,)
        )
        with closing(rows):
            for record_id, length in rows:
                size -= length + each
                if size < 0:
                    return int(record_id) - 1
        return 0

    def head(self) -> int:
        """The highest id, 0 if there is none."""
        return int(self._db.execute("SELECT max(id) FROM records").fetchone()[0] or 0)

    def count(self) -> int:
        """How many records are kept."""
        return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])

    def read(self, after: int) -> Generator[Record, None, None]:
        """Records above ``after``, ascending, each checked against its CRC.

        Raises:
            LogDamaged: a row is not what was written; names it and the remedy.
        """
        try:
            for record_id, crc, data in self._db.execute(
                "SELECT id, crc, data FROM records WHERE id > ? ORDER BY id", (after,)
            ):
                if checksum(record_id, data) != crc:
                    raise LogDamaged(
                        f"{self.path}: record {format_id(record_id)} fails its checksum; {_REMEDY}"
                    )
                yield unpack(record_id, data)
        except sqlite3.DatabaseError as exc:
            raise LogDamaged(f"{self.path} cannot be read: {exc}; {_REMEDY}") from exc

    def batch(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        """The oldest records above ``after`` up to ``up_to``.

        At most ``limit``, and no more than ``max_bytes`` of data unless the first alone is
        larger.

        Raises:
            LogDamaged: as :meth:`read`.
        """
        found: list[Record] = []
        with closing(self.read(after)) as records:
            for record in records:
                max_bytes -= len(record.body)
                if record.id > up_to or (found and max_bytes < 0):
                    break
                found.append(record)
                if len(found) == limit:
                    break
        return found

    def check_pages(self) -> None:
        """Check the structure of the pages, of a file of at most :data:`CHECKED_BYTES`.

        A page that lists its rows wrongly is no error to SQLite: rows are missing, silently.
        The time grows with the file, so a larger one is checked by ``log verify`` alone.

        Raises:
            LogDamaged: a page is not what was written.
        """
        pages = int(self._db.execute("PRAGMA page_count").fetchone()[0])
        if pages * _PAGE > CHECKED_BYTES:
            return
        try:
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.DatabaseError as exc:
            found = str(exc)
        if found != "ok":
            raise LogDamaged(f"{self.path}: a page is damaged: {found}; {_REMEDY}")

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file's pages; nothing, if all is well."""
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(20)")]
        except sqlite3.DatabaseError as exc:
            return [str(exc)]
        return [] if found == ["ok"] else found

    def bad_rows(self) -> Iterator[tuple[Row, str]]:
        """Every row that fails its checksum or cannot be decoded, with the reason."""
        for record_id, crc, data in self._db.execute("SELECT id, crc, data FROM records"):
            if checksum(record_id, data) != crc:
                yield (record_id, crc, data), "checksum"
                continue
            try:
                unpack(record_id, data)
            except LogDamaged as exc:
                yield (record_id, crc, data), str(exc)

    def insert(self, rows: Sequence[Row]) -> None:
        """Make rows durable: one statement, which is its own transaction.

        ``executemany`` would give up the interpreter's lock once a row, and wait for it
        as often. A failed fsync or a damaged page ends the process: what is in the
        kernel's cache after one is anybody's guess, and a retry would call it durable.

        Raises:
            LogUnavailable: nothing was kept: the disk is full, or another process held the
                file for :data:`COMMIT_PATIENCE_MS` (``log_busy``). The statement is its own
                transaction, and one that did not get the lock has written nothing.
        """
        statement = self._inserts.get(len(rows))
        if statement is None:
            values = ",".join(["(?,?,?)"] * len(rows))
            statement = self._inserts[len(rows)] = f"INSERT INTO records VALUES {values}"
        fields = [field for row in rows for field in row]
        self._write(statement, fields, patience_ms=COMMIT_PATIENCE_MS)
        self._since_checkpoint += 3 * _PAGE + sum(len(row[2]) for row in rows)

    def never_wait(self) -> None:
        """Let only :meth:`insert` and :meth:`close` wait for a lock on the file from now on.

        Maintenance that waits for another process must not delay commits.
        """
        self._patience_ms = 0

    def is_free(self) -> bool:
        """Whether a commit would get the file's lock now.

        Raises:
            LogUnavailable: it cannot be told.
        """
        try:
            self._write("BEGIN IMMEDIATE", ())
        except LogUnavailable as exc:
            if exc.code != "log_busy":
                raise
            return False
        self._write("ROLLBACK", ())
        return True

    def checkpoint_if_due(self) -> None:
        """Move the write-ahead log's pages home, a few megabytes at a time."""
        if self._since_checkpoint >= _CHECKPOINT_BYTES:
            self._since_checkpoint = 0
            self._checkpoint("PASSIVE")

    def shrink_wal(self) -> bool:
        """Cut the write-ahead log back if a burst has left it large; whether it is small now.

        Only where all its pages are home already: then it takes a moment. A reader that is in
        the way (a backup) is waited for briefly.
        """
        if self.wal_size() <= WAL_BYTES:
            return True
        moved = self._checkpoint("PASSIVE")
        if moved is not None and moved[1] == moved[2]:
            self._checkpoint("TRUNCATE", patience_ms=_SHRINK_PATIENCE_MS)
        return self.wal_size() <= WAL_BYTES

    def wal_size(self) -> int:
        """Bytes of the write-ahead log on disk."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def trim(self, up_to: int, max_rows: int) -> int:
        """Delete up to ``max_rows`` of the oldest with ``id <= up_to``; how many went.

        The newest of all stays whatever its age: the log's head is how a watermark is
        known to belong to this file. How far it went is kept with it (``trimmed``): what is
        deleted here must never be claimed by who reads the rest.
        """
        deleted, last = self._db.execute(
            "SELECT count(*), max(id) FROM (SELECT id FROM records WHERE id <= ?"
            " AND id < (SELECT max(id) FROM records) ORDER BY id LIMIT ?)",
            (up_to, max_rows),
        ).fetchone()
        if not deleted:
            return 0
        with self._transaction():
            self._write("DELETE FROM records WHERE id <= ?", (last,))
            self._raise_meta("trimmed", last)
        self._since_checkpoint += deleted * _PAGE // 8
        return int(deleted)

    def remove(self, ids: Sequence[int], values: Mapping[str, str | int] = NOTHING_ELSE) -> None:
        """Delete single rows and set meta; all or nothing.

        They are those that ``log verify --quarantine`` has copied.

        The base rises to the highest of them: up to there a store may hold what this log no
        longer does, so readers ask both.
        """
        with self._transaction():
            for record_id in ids:
                self._write("DELETE FROM records WHERE id=?", (record_id,))
            for key, value in values.items():
                self.set_meta(key, value)
            self._raise_meta("base", max(ids, default=0))

    def replace(
        self, ids: Sequence[int], rows: Sequence[Row], values: Mapping[str, str | int]
    ) -> None:
        """Put ``rows`` in the place of those with ``ids``, and set meta; all or nothing."""
        with self._transaction():
            for record_id in ids:
                self._write("DELETE FROM records WHERE id=?", (record_id,))
            self.insert(rows)
            for key, value in values.items():
                self.set_meta(key, value)

    def abandon(self) -> None:
        """Let go of the file without asking anything of it."""
        self._db.close()

    def close(self) -> None:
        """Fold the write-ahead log into the file, so that the next start reads none."""
        self._checkpoint("TRUNCATE", patience_ms=COMMIT_PATIENCE_MS)
        self._db.close()

    def _raise_meta(self, key: str, value: int) -> None:
        self.set_meta(key, max(int(str(self.meta(key) or 0)), value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing.

        Raises:
            LogUnavailable: nothing was changed.
        """
        self._write("BEGIN IMMEDIATE", ())
        try:
            yield
            self._write("COMMIT", ())
        except BaseException:
            if self._db.in_transaction:  # SQLite may have rolled it back by itself
                self._db.execute("ROLLBACK")
            raise

    def _write(
        self,
        statement: str,
        values: Sequence[str | int | bytes],
        *,
        patience_ms: int | None = None,
    ) -> int:
        try:
            self._wait_up_to(self._patience_ms if patience_ms is None else patience_ms)
            return self._db.execute(statement, values).rowcount
        except sqlite3.Error as exc:
            _after_failed_write(exc)

    def _wait_up_to(self, milliseconds: int) -> None:
        if milliseconds != self._waits_ms:
            self._db.execute(f"PRAGMA busy_timeout={milliseconds}")
            self._waits_ms = milliseconds

    def _checkpoint(self, mode: str, patience_ms: int = 0) -> tuple[int, int, int] | None:
        """SQLite's answer: whether it was busy, pages in the log, pages moved home."""
        try:
            self._wait_up_to(patience_ms)
            found: tuple[int, int, int] = self._db.execute(
                f"PRAGMA wal_checkpoint({mode})"
            ).fetchone()
        except sqlite3.Error as exc:
            if primary_code(exc) != sqlite3.SQLITE_FULL and not is_busy(exc):
                _after_failed_write(exc)
            # Full or busy: the pages stay where they are, durable, for the next one.
            self._since_checkpoint = _CHECKPOINT_BYTES // 2
            return None
        return found


_REMEDY: Final = (
    "run `chatsvc log verify` to see what is bad, and see the operations guide on a damaged log"
)


def new_epoch() -> str:
    """A name for a new epoch of the log: 10 lower-case letters and digits."""
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(10))


def _after_failed_write(exc: sqlite3.Error) -> NoReturn:
    code = primary_code(exc)
    if code in BUSY:
        raise LogUnavailable(
            "another process holds the log's file", code="log_busy", retry_after=2.0
        ) from exc
    if code == sqlite3.SQLITE_FULL:
        raise LogUnavailable("the log's disk is full", code="disk_full", retry_after=5.0) from exc
    name = getattr(exc, "sqlite_errorname", "unknown")
    if code in _IO_ERRORS:
        logs.finish()
        text = f"chatsvc: the log's disk failed ({name}: {exc}); ending at once\n"
        write_within(_STANDARD_ERROR, text.encode(errors="replace"), logs.FLUSH_SECONDS)
        os._exit(EXIT_DISK_FAILED)
    raise LogUnavailable(f"the log cannot write ({name})", retry_after=1.0) from exc
