"""The log's database: the connection, the schema, the values beside the records, transactions.

Everything here blocks; it runs in the log's own thread (``log/local/worker.py``) or in the
command line. sqlite3's errors are translated here and go no further.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from chatsvc import logs
from chatsvc.core.errors import (
    ConfigurationError,
    LogDamaged,
    LogUnavailable,
    version_too_new,
)
from chatsvc.core.ids import now_ms
from chatsvc.line_writer import write_within
from chatsvc.log.local.busy import BUSY, is_busy, primary_code, retry_while_busy
from chatsvc.log.local.damage import refuse_damage
from chatsvc.log.local.state_tables import STATEMENTS

SCHEMA_VERSION: Final = 2
"""Version 1 has no tables of the log's own state; they are made when it is opened."""
EXIT_DISK_FAILED: Final = 74  # EX_IOERR of sysexits.h
_STANDARD_ERROR: Final = 2
WAL_BYTES: Final = 16 * 1024 * 1024
"""The write-ahead log is cut back to this once a burst is over."""
PAGE_BYTES: Final = 4096
REMEDY: Final = (
    "run `chatsvc log verify` to see what is bad, and see the operations guide on a damaged log"
)
_PATIENCE_MS: Final = 5000
_OPEN_SECONDS: Final = 10.0

_ACCESS_ERRORS: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
)
_IO_ERRORS: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class LogDatabase:
    """SQLite in WAL mode: a table of records and one of values beside them (``meta``).

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
        self._patience_ms = _PATIENCE_MS
        self._waits_ms = -1
        try:
            retry_while_busy(self._connect, _OPEN_SECONDS)
        except sqlite3.DatabaseError as exc:
            if is_busy(exc):
                raise ConfigurationError(f"DATA_DIR: another program holds {path}: {exc}") from exc
            if primary_code(exc) in _ACCESS_ERRORS:
                raise ConfigurationError(f"DATA_DIR: cannot use {path}: {exc}") from exc
            raise LogDamaged(f"{path} cannot be opened as a log: {exc}; {REMEDY}") from exc

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

    def abandon(self) -> None:
        """Let go of the file without asking anything of it."""
        self._db.close()

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
            raise version_too_new(str(self.path), version, SCHEMA_VERSION)
        if version == SCHEMA_VERSION:
            return
        self._db.execute("BEGIN IMMEDIATE")
        if self._db.execute("PRAGMA user_version").fetchone()[0] != version:
            self._db.execute("ROLLBACK")  # another process was first
            return
        if version == 0:
            self._db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
            self._db.execute(
                "CREATE TABLE records (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL,"
                " data BLOB NOT NULL)"
            )
            self.set_meta("epoch", new_epoch())
            self.set_meta("created_ms", now_ms())
            self.set_meta("trimmed", 0)
        elif self.meta("trimmed"):
            # The released program may have trimmed since, and does not say how far.
            lowest = self._db.execute("SELECT min(id) FROM records").fetchone()[0]
            self._raise_meta("trimmed", (lowest or 1) - 1)
        for statement in STATEMENTS:
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def _raise_meta(self, key: str, value: int) -> None:
        self.set_meta(key, max(int(str(self.meta(key) or 0)), value))

    @contextmanager
    def _transaction(self, *, patience_ms: int | None = None) -> Iterator[None]:
        """All or nothing.

        Args:
            patience_ms: how long another process that holds the file is waited for.

        Raises:
            LogUnavailable: nothing was changed.
        """
        self._write("BEGIN IMMEDIATE", (), patience_ms=patience_ms)
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
        values: Sequence[str | int | bytes | None],
        *,
        patience_ms: int | None = None,
    ) -> int:
        try:
            self._wait_up_to(self._patience_ms if patience_ms is None else patience_ms)
            return self._db.execute(statement, values).rowcount
        except sqlite3.Error as exc:
            raise_write_error(exc)

    def _read(self, query: str, values: Sequence[str | int]) -> list[Any]:
        """The rows that maintenance goes by; what fails is translated as of :meth:`_write`."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as exc:
            raise_write_error(exc)

    def _wait_up_to(self, milliseconds: int) -> None:
        if milliseconds != self._waits_ms:
            self._db.execute(f"PRAGMA busy_timeout={milliseconds}")
            self._waits_ms = milliseconds


def new_epoch() -> str:
    """A name for a new epoch of the log: 10 lower-case letters and digits."""
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(10))


def raise_write_error(exc: sqlite3.Error) -> NoReturn:
    """Translate what a write failed of; where the disk failed, end the process.

    What is in the kernel's cache after a failed fsync is anybody's guess, and a retry would
    call it durable.

    Raises:
        LogUnavailable: nothing was written.
    """
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
