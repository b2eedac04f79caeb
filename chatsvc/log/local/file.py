"""The local log's file: SQLite in WAL mode, one row a record, each with a CRC.

Everything here blocks; it runs in the log's own thread (``log/local/worker.py``) or in the
command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from chatsvc.core.record import Record, checksum, pack
from chatsvc.log.local.checkpoints import Checkpoints
from chatsvc.log.local.database import PAGE_BYTES
from chatsvc.log.local.record_reader import RecordReader, Row
from chatsvc.log.local.state_adoption import StateAdoption

COMMIT_PATIENCE_MS: Final = 1000
"""How long a commit waits for another process that holds the file."""

NOTHING_ELSE: Final[Mapping[str, str | int]] = MappingProxyType({})


class LogFile(RecordReader, StateAdoption, Checkpoints):
    """``DATA_DIR/log.db``, opened and verified: what is written to it and taken out of it.

    The arguments and errors are those of :class:`~chatsvc.log.local.database.LogDatabase`.
    """

    def __init__(self, path: Path, *, accept_loss: bool = False) -> None:
        super().__init__(path, accept_loss=accept_loss)
        self._inserts: dict[int, str] = {}

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
        self._since_checkpoint += 3 * PAGE_BYTES + sum(len(row[2]) for row in rows)

    def insert_changing(self, records: Sequence[Record]) -> list[Record]:
        """Make records durable together with the rows of state that some of them change.

        Returns:
            The same records with what the log itself puts in the rows.

        Raises:
            LogUnavailable: as :meth:`insert`. Nothing was kept.
            LogDamaged: a row that one of them changes is not what was written. Nothing was kept.
        """
        with self._transaction(patience_ms=COMMIT_PATIENCE_MS):
            kept = [self.changed_by(record) for record in records]
            self.insert([(one.id, checksum(one.id, data := pack(one)), data) for one in kept])
        self._since_checkpoint += PAGE_BYTES * sum(_rows_of(one) for one in kept)
        return kept

    def trim(self, up_to: int, max_rows: int) -> int:
        """Delete up to ``max_rows`` of the oldest with ``id <= up_to``; how many went.

        The newest of all stays whatever its age: the log's head is how a watermark is
        known to belong to this file. How far it went is kept with it (``trimmed``): what is
        deleted here must never be claimed by who reads the rest.
        """
        ((deleted, last),) = self._read(
            "SELECT count(*), max(id) FROM (SELECT id FROM records WHERE id <= ?"
            " AND id < (SELECT max(id) FROM records) ORDER BY id LIMIT ?)",
            (up_to, max_rows),
        )
        if not deleted:
            return 0
        with self._transaction():
            self._write("DELETE FROM records WHERE id <= ?", (last,))
            self._raise_meta("trimmed", last)
        self._since_checkpoint += deleted * PAGE_BYTES // 8
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
        self, ids: Sequence[int], records: Sequence[Record], values: Mapping[str, str | int]
    ) -> list[Record]:
        """Put records in the place of those with ``ids``, and set meta; all or nothing.

        Returns:
            The same records with the rows of state as they are now.
        """
        with self._transaction():
            for record_id in ids:
                self._write("DELETE FROM records WHERE id=?", (record_id,))
            kept = [self.with_rows_of_now(record) for record in records]
            self.insert([(one.id, checksum(one.id, data := pack(one)), data) for one in kept])
            for key, value in values.items():
                self.set_meta(key, value)
        return kept

    def close(self) -> None:
        """Fold the write-ahead log into the file, so that the next start reads none."""
        self._checkpoint("TRUNCATE", patience_ms=COMMIT_PATIENCE_MS)
        self._db.close()


def _rows_of(record: Record) -> int:
    state = record.state
    return 0 if state is None else 1 + len(state.members) + len(state.filters)
