"""Logs on disk for tests: opened, written as an earlier run left them, and asked."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from chatsvc.core.ids import STEP, id_at, now_ms
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record, accept
from chatsvc.log.base import Appended
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.record_reader import Row
from chatsvc.log.reconcile import Mark, StoreState
from testkit.drafts import draft
from tests.unit.support.log_rows import row

HOUR: Final = 3_600_000
"""In milliseconds."""
ALL: Final = Bounds(limit=100_000, newest=False)
NOTHING: Final = StoreState("s", None, 0)
"""A store that holds nothing."""
Open = Callable[..., Awaitable[LocalLog]]


async def send(log: LocalLog, content: str = "x", **options: Any) -> Appended:
    """Append a message, and wait until it is durable."""
    return await asyncio.wait_for(log.append(draft(content, **options)), 30)


def ids(log: LocalLog) -> list[int]:
    """Of the records in the log's memory."""
    return [record.id for record in log.tail.page(ALL)]


def mark(log: LocalLog, position: int) -> Mark:
    """The mark that this log sets in a store that has everything up to the position."""
    entry = log.epochs[-1]
    return Mark(position, entry.generation, entry.epoch)


def old_records(count: int, ms_ago: int = HOUR, **options: Any) -> list[Record]:
    """Records whose ids are of a time before now."""
    first = id_at(now_ms() - ms_ago)
    return [accept(draft(f"old {at}", **options), first + at * STEP) for at in range(count)]


def old_row(ms_ago: int, at: int = 0, client_id: str | None = None) -> Row:
    """The row of a record whose id is of a time before now."""
    record = accept(draft(f"old {at}", client_id=client_id), id_at(now_ms() - ms_ago) + at * STEP)
    return row(record)


def write_log(folder: Path, rows: list[Row], **meta: str | int) -> None:
    """Write a log as an earlier run left it."""
    file = LogFile(folder / "log.db")
    if rows:
        file.insert(rows)
    file.set_meta("created_ms", now_ms() - 24 * HOUR)
    for key, value in meta.items():
        file.set_meta(key, value)
    file.close()


def write_log_of_before(folder: Path, records: list[Record], **meta: str | int) -> None:
    """Write a log as an earlier program left it: its file says nothing of newer things."""
    file = LogFile(folder / "log.db")
    if records:
        file.insert([row(record) for record in records])
    for key, value in meta.items():
        file.set_meta(key, value)
    file.close()
    with sqlite3.connect(folder / "log.db") as db:
        db.execute("DELETE FROM meta WHERE key='trimmed'")
    db.close()


def rows_on_disk(folder: Path) -> int:
    """How many records are in the file, as another process sees it."""
    db = sqlite3.connect(f"{(folder / 'log.db').as_uri()}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT count(*) FROM records").fetchone()[0])
    finally:
        db.close()
