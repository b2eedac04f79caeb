"""Reading the log's file: records by id and by position, and whether they are undamaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Final

from chatsvc.core.errors import LogDamaged
from chatsvc.core.ids import format_id
from chatsvc.core.record import Record, checksum, unpack
from chatsvc.log.local.columns import DATA
from chatsvc.log.local.database import PAGE_BYTES, REMEDY, LogDatabase

CHECKED_BYTES: Final = 256 * 1024 * 1024
"""Up to this size the pages of the file are checked at each start."""

Row = tuple[int, int, bytes]
"""``(id, crc, data)``."""


class RecordReader(LogDatabase):
    """The records of the log's file. They are as they were written, unless it says otherwise."""

    def get(self, record_id: int) -> Record | None:
        """One record, unchecked."""
        found = self._db.execute(f"SELECT {DATA} FROM records WHERE id=?", (record_id,)).fetchone()
        return unpack(record_id, found[0]) if found is not None else None

    def lowest(self) -> int:
        """The lowest id, 0 if there is none."""
        return int(self._db.execute("SELECT min(id) FROM records").fetchone()[0] or 0)

    def head(self) -> int:
        """The highest id, 0 if there is none."""
        return int(self._db.execute("SELECT max(id) FROM records").fetchone()[0] or 0)

    def count(self) -> int:
        """How many records are kept."""
        return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])

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

    def read(self, after: int) -> Generator[Record, None, None]:
        """Records above ``after``, ascending, each checked against its CRC.

        Raises:
            LogDamaged: a row is not what was written; names it and the remedy.
        """
        try:
            for record_id, crc, data in self._db.execute(
                f"SELECT id, crc, {DATA} FROM records WHERE id > ? ORDER BY id", (after,)
            ):
                if checksum(record_id, data) != crc:
                    raise LogDamaged(
                        f"{self.path}: record {format_id(record_id)} fails its checksum; {REMEDY}"
                    )
                yield unpack(record_id, data)
        except sqlite3.DatabaseError as exc:
            raise LogDamaged(f"{self.path} cannot be read: {exc}; {REMEDY}") from exc

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
        if pages * PAGE_BYTES > CHECKED_BYTES:
            return
        try:
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.DatabaseError as exc:
            found = str(exc)
        if found != "ok":
            raise LogDamaged(f"{self.path}: a page is damaged: {found}; {REMEDY}")

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file's pages; nothing, if all is well."""
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(20)")]
        except sqlite3.DatabaseError as exc:
            return [str(exc)]
        return [] if found == ["ok"] else found

    def bad_rows(self) -> Iterator[tuple[Row, str]]:
        """Every row that fails its checksum or cannot be decoded, with the reason."""
        for record_id, crc, data in self._db.execute(f"SELECT id, crc, {DATA} FROM records"):
            if checksum(record_id, data) != crc:
                yield (record_id, crc, data), "checksum"
                continue
            try:
                unpack(record_id, data)
            except LogDamaged as exc:
                yield (record_id, crc, data), str(exc)
