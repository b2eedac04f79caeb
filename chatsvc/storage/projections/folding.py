"""What the records of a batch change in each projection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chatsvc.core.ids import format_id
from chatsvc.core.projection import Projection, Projections, RowChange
from chatsvc.core.record import Record
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.projections.live_range import LAST_POSITION
from chatsvc.storage.projections.row_state import Changes

FOLD_FAILED: Final = "fold_failed"
"""The code of a rejection: a projection cannot say what the record changes."""


class FoldFailed(Exception):
    """A projection cannot say what a record changes."""


def changes_of(projection: Projection, record: Record) -> list[RowChange]:
    """Return what a record changes in a projection; nothing if it is of another kind.

    Raises:
        FoldFailed: its function failed, or returned what is no change of its rows.
    """
    if record.kind not in projection.kinds:
        return []
    if record.touches or record.state is not None or record.keys:
        # No store gives these back: rows that are built from its records must be the same.
        record = msgspec.structs.replace(record, touches=(), state=None, keys=())
    try:
        if record.id > LAST_POSITION:
            raise ValueError("the id has more than 63 bits")
        changes = list(projection.fold(record))
        for change in changes:
            projection.check(change)
    except Exception as exc:  # of a feature: whatever it is, it is about this record
        raise FoldFailed(
            f"projection {projection.name!r} cannot fold record {format_id(record.id)}:"
            f" {type(exc).__name__}"
        ) from exc
    return changes


def fold(projection: Projection, records: Iterable[Record]) -> Changes:
    """Return what records change in one projection.

    Raises:
        FoldFailed: as :func:`changes_of`.
    """
    changes = Changes()
    for record in records:
        changes.add(record.id, changes_of(projection, record))
    return changes


class FoldedBatch:
    """What each record of a batch changes, folded before anything of it is written.

    ``records`` are those that could be folded; ``rejections`` the others.
    """

    def __init__(self, projections: Projections, records: Sequence[Record]) -> None:
        self.records = records
        self.rejections: list[Rejection] = []
        self._changes: list[tuple[Record, Projection, list[RowChange]]] = []
        failed: set[int] = set()
        for index, record in enumerate(records if projections else ()):
            try:
                folded = [(record, one, changes_of(one, record)) for one in projections]
            except FoldFailed as exc:
                failed.add(index)
                self.rejections.append(Rejection(record, FOLD_FAILED, str(exc)))
            else:
                self._changes += [one for one in folded if one[2]]
        if failed:
            self.records = [one for index, one in enumerate(records) if index not in failed]

    def without(self, rejections: Iterable[Rejection]) -> dict[str, Changes]:
        """Return the changes by projection, but for those of records that were rejected."""
        rejected = {id(one.record) for one in rejections}
        found: dict[str, Changes] = {}
        for record, projection, changes in self._changes:
            if id(record) not in rejected:
                found.setdefault(projection.name, Changes()).add(record.id, changes)
        return found
