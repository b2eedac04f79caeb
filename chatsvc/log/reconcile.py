"""What follows where a log is attached to a store: which of the two knows what.

A pure table, asked when the service starts and whenever the store turns out not to be what
it was. Either side may have been replaced meanwhile: a backup put back, another database
configured, a folder lost, a database that was not there when the log began.

What proves what:

* the log's ``stored`` and the store's mark each say "everything up to here is in the store";
  the lower of the two is believed;
* the store's highest id proves nothing about what is below it (batches are unordered), but
  one that the log does not hold proves that the store has seen another past;
* the mark names the epoch of the log that set it. Epochs are counted: a higher number than
  the log's own means that the log is an older one, a lower one that the store is.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from chatsvc.log.state import StateDue

_decode = msgspec.json.Decoder().decode

MARGIN: Final = 1_000
"""Records below the watermark that are stored again where log and store agree."""
WIDE_MARGIN: Final = 100_000
"""The same where one of the two was most likely restored: the store is older than the log,
or holds records of another past under the log's ids. A dump of several collections is not
one moment: the collection that holds the watermark may have been copied minutes after the
messages; this many records cover a dump that took twenty minutes under eighty messages a
second."""

Range = tuple[int, int]
"""Ids above the first, up to and with the second."""


class EpochEntry(NamedTuple):
    """An epoch of the log: the time between two events that may have changed its past.

    Cursors of an earlier one are valid up to ``begun``: what is above it differs, or may
    differ.
    """

    generation: int
    epoch: str
    begun: int


class Mark(NamedTuple):
    """The store's watermark, and the epoch of the log that set it.

    ``lost`` is what the store lacks below it for good. ``content`` is the :func:`fingerprint`
    of what the log has at the position, empty where that is not known: the store itself may
    not hold it any more. What was accepted up to ``window_start`` was older than the window of
    client ids when the mark was set.
    """

    position: int
    generation: int
    epoch: str
    lost: Range | None = None
    content: str = ""
    window_start: int = 0


def fingerprint(body: bytes) -> str:
    """Return a name for the JSON of a message: another message has another."""
    return blake2b(body, digest_size=16).hexdigest()


def equal_json(body: bytes, other: bytes) -> bool:
    """Return whether two bodies are one JSON value; that of a dead letter may be none at all."""
    try:
        return body == other or bool(_decode(body) == _decode(other))
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return False


class LogPositions(NamedTuple):
    """The log's side.

    ``store`` names the store that it was filling, ``None`` before it had one; that store
    holds everything up to ``stored``. ``start`` is where the log began, and ``trimmed``, at
    least that, the highest id that was deleted from the file: nothing up to there can be
    stored again. ``base``: at or below it a store may hold what the log does not. ``empty``:
    it has accepted nothing yet. ``hole`` is what neither side holds any more. ``epochs`` ends
    with the present one. ``marked``: that store has had a mark of this log's. ``removed`` are
    records that some store held, and that an operator took out of the file.
    """

    store: str | None
    stored: int
    start: int
    trimmed: int
    base: int
    empty: bool
    epochs: tuple[EpochEntry, ...]
    hole: Range | None = None
    marked: bool = False
    removed: Range | None = None


class StoreState(NamedTuple):
    """The store's side.

    Its name, its mark (``None``: nobody has set one), the highest id in it, of a record or of
    a dead letter, and the JSON of that record. ``only_rows``: it has rows of members, channels
    or filters, and nothing else, as an empty one to which a log gave its rows.
    """

    identity: str
    mark: Mark | None
    head: int
    newest: bytes | None = None
    only_rows: bool = False

    @property
    def window_start(self) -> int:
        """What was accepted up to here is older than the window of client ids."""
        return self.mark.window_start if self.mark is not None else 0

    @property
    def extent(self) -> int:
        """Nothing is in the store above this id."""
        return max(self.head, self.mark.position if self.mark is not None else 0)

    @property
    def complete_up_to(self) -> int:
        """Above this id it may lack a part of what it had: of a batch that was not ended."""
        return self.mark.position if self.mark is not None else self.head


class Reconciliation(NamedTuple):
    """What follows.

    ``another``: not the store that the log was filling. ``behind``: it lacks what the log
    believed stored. ``ahead``: it holds what the log does not, so a new epoch of the log
    begins, with ids above all of it. ``stored`` is what may be believed now, and ``margin``
    how many records below it are stored again; after another past they are not believed
    either, for what is in the store there may be the other past's.
    """

    another: bool
    behind: bool
    ahead: bool
    stored: int
    margin: int
    base: int
    hole: Range | None


def reconcile(log: LogPositions, store: StoreState, *, known: bool) -> Reconciliation:
    """Compare the two.

    Args:
        known: whether the log's file holds what the store has at :attr:`StoreState.extent`.
    """
    if log.store is None:
        return _first(log, store, known)
    if log.store != store.identity:
        return _another(log, store, known)
    claimed = _claimed(log, store)
    behind = claimed < log.stored
    ahead = _is_ahead(log, store, known)
    # A store that has never had a mark cannot tell a loss from what has expired in it.
    lost = _missing(log, claimed) if behind and (store.mark or log.marked) else None
    lost = joined(lost, store.mark.lost if store.mark is not None else None)
    return Reconciliation(
        another=False,
        behind=behind,
        ahead=ahead,
        stored=max(min(claimed, log.stored), log.trimmed),
        margin=WIDE_MARGIN if behind or ahead else MARGIN,
        base=max(log.base, store.extent) if ahead else log.base,
        hole=joined(log.hole, lost),
    )


def _first(log: LogPositions, store: StoreState, known: bool) -> Reconciliation:
    """The log began while the store was away: what was before is the store's to answer."""
    return Reconciliation(
        another=False,
        behind=False,
        ahead=not log.empty and store.extent > log.trimmed and not known,
        stored=log.stored,
        margin=MARGIN,
        base=max(log.base, store.extent),
        hole=log.hole,
    )


def _another(log: LogPositions, store: StoreState, known: bool) -> Reconciliation:
    """A store that the log was not filling.

    Everything that the log still has goes to it. What it says that it holds counts where one
    of this log's own epochs said so; the rest of what was deleted is missing.
    """
    mark = store.mark
    # Above what was trimmed are records that an operator took out: no store has them.
    taken_out = log.hole if log.hole is not None and log.hole[1] > log.trimmed else None
    ours = mark is not None and any(
        (entry.generation, entry.epoch) == (mark.generation, mark.epoch) for entry in log.epochs
    )
    return Reconciliation(
        another=True,
        behind=True,
        ahead=_is_ahead(log, store, known),
        stored=log.trimmed,
        margin=0,
        base=max(log.base, store.extent),
        hole=joined(
            joined(_missing(log, _claimed(log, store) if ours else 0), taken_out),
            mark.lost if mark is not None else None,
        ),
    )


def _claimed(log: LogPositions, store: StoreState) -> int:
    """Up to where the store holds everything of this log, by its mark.

    What later epochs have placed below its position is not in there.
    Without a mark it was restored to the time before it had one; or it was filled by a
    program that set none, and then its head says at least how far that one came.
    """
    mark = store.mark
    if mark is None:
        return 0 if log.marked else min(log.stored, store.head)
    return min([mark.position, *_begun_since(log, mark)])


def _begun_since(log: LogPositions, mark: Mark) -> list[int]:
    """Above which positions this log differs from the one that set the mark, or may differ."""
    return [
        entry.begun
        for entry in log.epochs
        if entry.generation > mark.generation
        or (entry.generation == mark.generation and entry.epoch != mark.epoch)
    ]


def _is_ahead(log: LogPositions, store: StoreState, known: bool) -> bool:
    if store.extent > max(log.base, log.trimmed) and not known:
        return True
    mark, entry = store.mark, log.epochs[-1]
    if mark is None or mark.generation < entry.generation:
        return False
    return (mark.generation, mark.epoch) != (entry.generation, entry.epoch)


def _missing(log: LogPositions, claimed: int) -> Range | None:
    """What the store lacks and the log has deleted, by trimming or at an operator's word."""
    trimmed = removed = None
    if claimed < log.trimmed and log.trimmed > log.start:
        trimmed = claimed, log.trimmed
    if log.removed is not None and claimed < log.removed[1]:
        removed = log.removed
    return joined(trimmed, removed)


def joined(one: Range | None, other: Range | None) -> Range | None:
    """Return the range that includes both."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def state_due(
    log: LogPositions, store: StoreState, found: Reconciliation, before: StateDue
) -> StateDue:
    """Return what has to be done to the log's own state, where these two were attached.

    Args:
        before: what was due before that.
    """
    if found.ahead or (log.store is None and (store.extent or store.only_rows)):
        return StateDue.ADOPTION
    if before is StateDue.ADOPTION:
        # Of a log that began without a store, this one has nothing; what was begun, goes on.
        return StateDue.NOTHING if log.store is None else before
    if found.another or found.behind:
        return StateDue.REWRITING
    if before is StateDue.NOTHING and _has_seen_more(log, store):
        return StateDue.ADOPTION
    if store.extent < log.base:
        return StateDue.REWRITING  # the log may have rows from it that it has no more
    return before


def _has_seen_more(log: LogPositions, store: StoreState) -> bool:
    """Whether the store has records of an epoch that this log has only the beginning of.

    So it is with a log that ``chatsvc restore`` or ``log verify --accept-loss`` has put in order:
    that the store may hold more is known to it by its base, so the store is not ahead of it.
    """
    since = [] if store.mark is None else _begun_since(log, store.mark)
    return bool(since) and store.extent > min(since)
