"""Name and watermark of the embedded store, in the table ``meta``."""

from __future__ import annotations

import sqlite3

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id, parse_id
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.watermark import StoreWatermark
from chatsvc.storage.sqlite.connection import SqliteFile


class SqliteWatermark(SqliteFile, StoreWatermark):
    """Keeps the name and the watermark."""

    async def identity(self) -> str:
        found = await self._reader.run(lambda db: meta(db, "identity"))
        if found is None:
            raise StoreUnavailable("the store's file has lost its name")
        return found

    async def watermark(self) -> Mark | None:
        return await self._reader.run(watermark)

    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        return await self._writer.run(lambda db: set_watermark(db, expected, new))


def meta(db: sqlite3.Connection, name: str) -> str | None:
    """A value kept beside the messages."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def watermark(db: sqlite3.Connection) -> Mark | None:
    """See :meth:`~chatsvc.storage.ports.watermark.StoreWatermark.watermark`."""
    found = meta(db, "watermark")
    return None if found is None else _decode_mark(found)


def set_watermark(db: sqlite3.Connection, expected: Mark | None, new: Mark) -> bool:
    """See :meth:`~chatsvc.storage.ports.watermark.StoreWatermark.set_watermark`.

    Without an fsync of its own: in WAL mode what was committed before it is on the disk
    whenever this is, and where this is lost with the power, the batch is stored again.
    """
    db.execute("PRAGMA synchronous=NORMAL")
    try:
        if expected is None:
            done = db.execute(
                "INSERT OR IGNORE INTO meta VALUES ('watermark', ?)", (_encode_mark(new),)
            )
            return done.rowcount == 1
        found = meta(db, "watermark")
        if found is None or _decode_mark(found) != expected:
            return False
        done = db.execute(
            "UPDATE meta SET value = ? WHERE name = 'watermark' AND value = ?",
            (_encode_mark(new), found),
        )
        return done.rowcount == 1
    finally:
        db.execute("PRAGMA synchronous=FULL")


def _encode_mark(mark: Mark) -> str:
    lost = "-".join(map(format_id, mark.lost)) if mark.lost else "-"
    window_start = format_id(mark.window_start)
    place = f"{format_id(mark.position)} {mark.generation} {mark.epoch}"
    return f"{place} {lost} {mark.content or '-'} {window_start}"


def _decode_mark(text: str) -> Mark:
    position, generation, epoch, lost, content, window_start = text.split(" ")
    return Mark(
        parse_id(position),
        int(generation),
        epoch,
        (parse_id(lost[:16]), parse_id(lost[17:])) if lost != "-" else None,
        content if content != "-" else "",
        parse_id(window_start),
    )
