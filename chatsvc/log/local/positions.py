"""The positions that the log's file keeps beside its records, and how old files had them."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from chatsvc.core.ids import MAX_ID, format_id, parse_id
from chatsvc.log.local.file import LogFile
from chatsvc.log.reconcile import EpochEntry, Range
from chatsvc.log.state import StateDue

MAX_EPOCHS: Final = 32
"""How many are remembered. What began before is taken for unknown, which costs only work."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[EpochEntry, ...]).decode


class Positions(NamedTuple):
    """One row each in the file's ``meta``; ids as numbers, ``None`` as an empty text.

    Attributes:
        epochs: of the log, the last :data:`MAX_EPOCHS` of them; the present one is the last.
        created_ms: when the present one began, in Unix milliseconds.
        store: the name of the store that is being filled; ``None`` before one was attached.
        stored: that store holds everything up to here (``watermark`` in the file).
        settled: some store held everything up to here: what lies above it was never
            stored anywhere, and is the backlog. At least ``stored``.
        start: where the log began: what was before is a store's to answer.
        trimmed: the highest id that trimming has deleted; ``start`` before that.
        base: at or below it a store may hold what the log does not.
        unconfirmed: the log's head when it was last opened without a store that could
            confirm that nothing of the log is missing; ``None`` once one did.
        hole: what is neither in the file nor in the store any more.
        marked: whether the store has had a mark of this log's.
        removed: from where to where an operator took records out that some store held.
        state_due: what has to be done to the log's own state.
    """

    epochs: tuple[EpochEntry, ...]
    created_ms: int
    store: str | None
    stored: int
    settled: int
    start: int
    trimmed: int
    base: int
    unconfirmed: int | None
    hole: Range | None
    marked: bool
    removed: Range | None
    state_due: StateDue = StateDue.NOTHING

    @property
    def epoch(self) -> str:
        """Which epoch of the log this is."""
        return self.epochs[-1].epoch

    @property
    def known_base(self) -> int:
        """``base``, or the highest id of all as long as no store was attached.

        Until then the store may hold anything.
        """
        return MAX_ID if self.store is None else self.base

    def meta(self) -> dict[str, str | int]:
        """The rows to write; not ``trimmed``, which only goes up, with each trimming."""
        return {
            "epoch": self.epoch,
            "epochs": _encode(self.epochs).decode(),
            "created_ms": self.created_ms,
            "store": self.store or "",
            "watermark": self.stored,
            "settled": self.settled,
            "start": self.start,
            "base": self.base,
            "unconfirmed": _text(self.unconfirmed),
            "hole": _range_text(self.hole),
            "marked": int(self.marked),
            "removed": _range_text(self.removed),
            "state_due": self.state_due,
        }


def load(file: LogFile) -> Positions:
    """What the file says. One of an earlier program says less.

    Such a file holds nothing below its lowest row that could be claimed, whatever was
    deleted; and a watermark below that is one that could not be saved in time.
    """
    watermark = _number(file, "watermark") or 0
    base = _number(file, "base") or 0
    trimmed = _number(file, "trimmed")
    lowest = file.lowest()
    if trimmed is None:
        trimmed = lowest - 1 if lowest else max(watermark, base)
    stored = max(watermark, trimmed)
    return Positions(
        epochs=_epochs(file, base),
        created_ms=_number(file, "created_ms") or 0,
        store=str(file.meta("store") or "") or None,
        stored=stored,
        settled=max(_number(file, "settled") or 0, stored),
        start=_number(file, "start") or 0,
        trimmed=trimmed,
        base=base,
        unconfirmed=_number(file, "unconfirmed"),
        hole=_range(file, "hole"),
        marked=bool(_number(file, "marked")),
        removed=_range(file, "removed"),
        state_due=StateDue(str(file.meta("state_due") or "")),
    )


def trimmed_of(file: LogFile) -> int:
    """How far trimming has come by now."""
    return _number(file, "trimmed") or 0


def head_of(file: LogFile, positions: Positions) -> int:
    """The highest id that was given to anything, as far as the file knows."""
    return max(file.head(), positions.base, positions.trimmed)


def remembered(epochs: tuple[EpochEntry, ...]) -> tuple[EpochEntry, ...]:
    """The last :data:`MAX_EPOCHS` of them.

    The oldest that stays also stands for those that go: the position above which they may
    differ is kept.
    """
    dropped, kept = epochs[:-MAX_EPOCHS], epochs[-MAX_EPOCHS:]
    begun = min(entry.begun for entry in (*dropped, kept[0]))
    return (kept[0]._replace(begun=begun), *kept[1:])


def _epochs(file: LogFile, base: int) -> tuple[EpochEntry, ...]:
    """The epochs that the file keeps, and the one that a command began, if it did.

    The commands are ``log verify --accept-loss`` and ``restore``: up to the head and the base
    all was as it is.
    """
    epoch = str(file.meta("epoch"))
    saved = file.meta("epochs")
    if saved is None:
        return (EpochEntry(0, epoch, 0),)  # of what was before it, nothing is known
    epochs = _decode(str(saved))
    if epochs[-1].epoch == epoch:
        return epochs
    entry = EpochEntry(epochs[-1].generation + 1, epoch, max(base, file.head()))
    return remembered((*epochs, entry))


def _number(file: LogFile, key: str) -> int | None:
    value = file.meta(key)
    return None if value in (None, "") else int(str(value))


def _range(file: LogFile, key: str) -> Range | None:
    text = str(file.meta(key) or "")
    return (parse_id(text[:16]), parse_id(text[17:])) if text else None


def _text(value: int | None) -> str | int:
    return "" if value is None else value


def _range_text(value: Range | None) -> str:
    return "" if value is None else f"{format_id(value[0])}-{format_id(value[1])}"
