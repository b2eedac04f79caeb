"""What follows for the log of the store that it is attached to, kept in the log's file.

What is believed of the store changes only here, and each change is durable before anything
is stored by it.
"""

from __future__ import annotations

from typing import NamedTuple

import structlog

from chatsvc.core.errors import LogDamaged
from chatsvc.core.ids import format_id, now_ms
from chatsvc.log.local.database import new_epoch
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.positions import Positions, remembered
from chatsvc.log.reconcile import (
    EpochEntry,
    LogPositions,
    Reconciliation,
    StoreState,
    equal_json,
    fingerprint,
    reconcile,
    state_due,
)
from chatsvc.log.state import StateDue

_logger = structlog.get_logger("chatsvc.log")


class Attachment(NamedTuple):
    """The positions of a log, and how they came out of attaching a store, if one was.

    ``begin`` is where storing goes on from; ``refill`` counts records that were stored once,
    and not in this store.
    """

    positions: Positions
    reconciliation: Reconciliation | None
    begin: int
    refill: int


def attach(
    file: LogFile,
    positions: Positions,
    store: StoreState,
    *,
    trimmed: int,
    empty: bool,
    differ: int,
) -> Attachment:
    """Attach a store to the log, and keep in its file what follows. Blocks.

    Args:
        trimmed: nothing up to here can be stored again.
        empty: whether the log has accepted nothing yet.
        differ: if a new epoch begins, it may differ from the one before it above this, or
            from where an earlier opening could not be confirmed.
    """
    log = _log_positions(positions, trimmed, empty)
    found = reconcile(log, store, known=knows(file, store))
    begin = stored = found.stored
    if found.margin:
        begin = max(file.below(stored, found.margin), trimmed)
    if found.behind or found.ahead:
        stored = min(stored, begin)  # what the margin covers is not believed either
    generation = store.mark.generation if store.mark is not None else 0
    if found.ahead:
        positions = begin_epoch(positions, differ, above=generation)
    elif log.store is None and generation >= positions.epochs[-1].generation:
        # Nothing was stored of this epoch yet: it is counted from the store's.
        entry = positions.epochs[-1]._replace(generation=generation + 1)
        positions = positions._replace(epochs=(*positions.epochs[:-1], entry))
    due_before = positions.state_due
    if found.another and not file.meta("state_dropped"):
        due_before = StateDue.NOTHING  # the rows that were to come from the store before are here
    positions = positions._replace(
        store=store.identity,
        stored=stored,
        base=found.base,
        hole=found.hole,
        unconfirmed=None,
        marked=positions.marked and not found.another,
        state_due=state_due(log, store, found, due_before),
    )
    file.set_metas(positions.meta())
    _log_attachment(log, store, positions, found)
    refill = file.count_between(stored, positions.settled)
    return Attachment(positions, found, min(begin, stored), refill)


def _log_positions(positions: Positions, trimmed: int, empty: bool) -> LogPositions:
    return LogPositions(
        positions.store,
        positions.stored,
        positions.start,
        trimmed,
        positions.base,
        empty,
        positions.epochs,
        positions.hole,
        positions.marked,
        positions.removed,
    )


def knows(file: LogFile, store: StoreState) -> bool:
    """Whether the newest that the store has seen is this log's own."""
    record = file.get(store.extent)
    if record is None:
        return False
    if store.mark is not None and store.head < store.mark.position:
        return store.mark.content in ("", fingerprint(record.body))
    return store.newest is None or equal_json(record.body, store.newest)


def check_end(file: LogFile, positions: Positions, head: int) -> None:
    """Check that the log does not end below its watermark.

    Raises:
        LogDamaged: it does: this is a part of the log.
    """
    error = missing_end(positions, head)
    if error is not None:
        raise LogDamaged(
            f"{file.path}: {error}. Restore the whole file from a backup, or accept the loss with "
            "`chatsvc log verify --accept-loss`"
        )


def missing_end(positions: Positions, head: int) -> str | None:
    """What is wrong where a log ends below its watermark, in words; ``None`` where it does not."""
    watermark = max(positions.stored, positions.settled)
    if watermark <= head:
        return None
    return (
        f"the watermark {format_id(watermark)} is above the head {format_id(head)}: "
        "the end of the log is missing"
    )


def begin_epoch(positions: Positions, differ: int, *, above: int = 0) -> Positions:
    """A new epoch: cursors and keys of the one before are not its own.

    Args:
        differ: above it the two may differ.
        above: a generation that was seen elsewhere.
    """
    if positions.unconfirmed is not None:
        differ = min(differ, positions.unconfirmed)
    generation = max(positions.epochs[-1].generation, above) + 1
    entry = EpochEntry(generation, new_epoch(), differ)
    return positions._replace(epochs=remembered((*positions.epochs, entry)), created_ms=now_ms())


def _log_attachment(
    log: LogPositions, store: StoreState, positions: Positions, found: Reconciliation
) -> None:
    if found.another:
        _logger.warning("store_is_another", stored_again_from=format_id(positions.stored))
    elif found.behind:
        _logger.warning(
            "store_is_older",
            believed_up_to=format_id(log.stored),
            stored_again_from=format_id(positions.stored),
        )
    if found.ahead:
        _logger.warning(
            "store_is_ahead",
            log_knows_up_to=format_id(max(log.stored, log.base)),
            store_up_to=format_id(store.extent),
            epoch=positions.epoch,
        )
    if found.hole is not None and found.hole != log.hole:
        _logger.error(
            "history_is_missing",
            above=format_id(found.hole[0]),
            up_to=format_id(found.hole[1]),
            meaning="the store lacks it, and the log has deleted it",
        )
