"""Batches of records written to the embedded store, each in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from chatsvc.core.kinds import Kinds
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.record import Record
from chatsvc.storage.bodies import (
    AUDIENCE_MISMATCH,
    Sameness,
    conflicting,
    partition_records,
    sameness,
)
from chatsvc.storage.ports.messages import MessageWriter, Rejection
from chatsvc.storage.sqlite import conversations, messages, rows, state_rows
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.conversations import Stored
from chatsvc.storage.sqlite.errors import UNFIT
from chatsvc.storage.sqlite.projections import ProjectionWrites
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, NAMED, json_list, transaction
from chatsvc.storage.state_rows import rows_of


class SqliteWrites(SqliteFile, MessageWriter):
    """Writes records of the kinds that it knows, with their conversations."""

    _kinds: Kinds
    _projection_writes: ProjectionWrites

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        if not records:
            return []
        rejections = await self._writer.run(
            lambda db: write_halving(db, records, self._kinds, self._projection_writes)
        )
        self._shrinker.after_write()
        return rejections


def write_halving(
    db: sqlite3.Connection,
    records: Sequence[Record],
    kinds: Kinds,
    projections: ProjectionWrites | None = None,
) -> list[Rejection]:
    """A batch in one transaction; one that fails for a value is halved until it is found."""
    try:
        return write_records(db, records, kinds, projections)
    except UNFIT as exc:
        if len(records) == 1:
            if projections is not None:
                _fold_unstored(db, records, projections)
            reason = f"SQLite cannot hold it: {type(exc).__name__}"
            return [Rejection(records[0], "unfit", reason)]
    middle = len(records) // 2
    first, second = records[:middle], records[middle:]
    return [
        *write_halving(db, first, kinds, projections),
        *write_halving(db, second, kinds, projections),
    ]


def write_records(
    db: sqlite3.Connection,
    records: Sequence[Record],
    kinds: Kinds = MESSAGES_ONLY,
    projections: ProjectionWrites | None = None,
) -> list[Rejection]:
    """Store a batch with the rows that it changes, in one transaction.

    Raises:
        sqlite3.Error: nothing of the batch was stored.
    """
    projections = projections or ProjectionWrites()
    folded = projections.fold(records)
    decoded, unfit = partition_records(folded.records, kinds)
    rejections = [*folded.rejections, *unfit]
    fit: list[Record] = []
    for record, _ in decoded:
        if 0 < record.id <= MAX_ROW_ID:
            fit.append(record)
        else:
            rejections.append(Rejection(record, "id_out_of_range", "the id has more than 63 bits"))
    if not fit:
        _fold_unstored(db, records, projections)
        return rejections
    with transaction(db):
        _fold(db, records)
        known = _known(db, fit)
        fresh = fit
        if known or not _is_ascending(fit):
            fresh = _compare(fit, known, rejections)
        if fresh:
            stored = conversations.numbered(db, fresh)
            rows.insert(db, _of_all(fresh, stored, rejections), stored, kinds)
        live = projections.write(db, folded.without(rejections), records)
    projections.committed(live)
    return rejections


def _fold(db: sqlite3.Connection, records: Sequence[Record]) -> None:
    """Store the rows of members, channels and filters that the records change."""
    if rows := rows_of(records):
        state_rows.put(db, rows)


def _fold_unstored(
    db: sqlite3.Connection, records: Sequence[Record], projections: ProjectionWrites
) -> None:
    """The same, of records none of which is stored; projections fold nothing of them."""
    with transaction(db):
        _fold(db, records)
        live = projections.write(db, {}, records)
    projections.committed(live)


def _known(db: sqlite3.Connection, records: Sequence[Record]) -> dict[int, Sameness]:
    """What is stored under the ids of the records, which ascend."""
    if records[0].id > messages.head(db):
        return {}  # the usual case: everything is new
    ids = json_list(record.id for record in records)
    found: dict[int, Sameness] = {}
    for table in ("messages", "changes"):
        held = db.execute(
            f"SELECT r.id, r.digest, c.channel, r.sender, r.client_id FROM {table} r"
            f" CROSS JOIN conversations c ON c.number = r.conversation WHERE r.id IN {NAMED}",
            (ids,),
        )
        found |= {row[0]: Sameness(*row[1:]) for row in held}
    return found


def _is_ascending(records: Sequence[Record]) -> bool:
    """Whether no id is there twice, as in a batch of new records."""
    last = 0
    for record in records:
        if record.id <= last:
            return False
        last = record.id
    return True


def _compare(
    records: Sequence[Record], known: dict[int, Sameness], rejections: list[Rejection]
) -> list[Record]:
    """Return what is to be inserted; add to the rejections what is something else."""
    fresh: list[Record] = []
    for record in records:
        own = sameness(record)
        held = known.setdefault(record.id, own)
        if held != own:
            rejections.append(conflicting(record))
        elif held is own:
            fresh.append(record)
    return fresh


def _of_all(
    records: Sequence[Record], stored: Mapping[str, Stored], rejections: list[Rejection]
) -> list[Record]:
    """Those that are for all participants of their set; the others are rejected.

    Any is kept of a group or a room, whose records are for its members or for those they name.
    """
    kept: list[Record] = []
    for record in records:
        conversation = stored[record.channel]
        if record.audience == conversation.users or conversation.is_of_members:
            kept.append(record)
        else:
            reason = "a record must be for all participants of its conversation, and no others"
            rejections.append(Rejection(record, AUDIENCE_MISMATCH, reason))
    return kept
