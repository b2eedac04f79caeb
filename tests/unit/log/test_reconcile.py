"""The whole table of what a log and a store find when they meet."""

from __future__ import annotations

import pytest

from chatsvc.log.reconcile import (
    MARGIN,
    WIDE_MARGIN,
    EpochEntry,
    LogPositions,
    Mark,
    Reconciliation,
    StoreState,
    reconcile,
    state_due,
)
from chatsvc.log.state import StateDue

TRIMMED, WATERMARK, HEAD = 20, 50, 80
BELOW, BETWEEN, ABOVE = 40, 60, 90
FIRST, NOW = EpochEntry(1, "first", 0), EpochEntry(2, "now", 30)
LOG = LogPositions(
    "ours", stored=WATERMARK, start=1, trimmed=TRIMMED, base=0, empty=False, epochs=(FIRST, NOW)
)
AGREED = Reconciliation(
    another=False,
    behind=False,
    ahead=False,
    stored=WATERMARK,
    margin=MARGIN,
    base=0,
    hole=None,
)
BEHIND = AGREED._replace(behind=True, stored=BELOW, margin=WIDE_MARGIN)


def mark(position: int | None, entry: EpochEntry = NOW) -> Mark | None:
    return None if position is None else Mark(position, entry.generation, entry.epoch)


def ahead_of(base: int, of: Reconciliation = AGREED) -> Reconciliation:
    return of._replace(ahead=True, base=base, margin=WIDE_MARGIN)


@pytest.mark.parametrize(
    ("watermark", "head", "known", "expected"),
    [
        # The store's watermark is the log's: its head below it is what was expired or put
        # aside, at it is the usual case, above it is a part of the batch that was under way.
        (WATERMARK, 0, True, AGREED),
        (WATERMARK, BELOW, True, AGREED),
        (WATERMARK, WATERMARK, True, AGREED),
        (WATERMARK, BETWEEN, True, AGREED),
        (WATERMARK, HEAD, True, AGREED),
        # ... unless the log does not hold it: then the log is an older one.
        (WATERMARK, BETWEEN, False, ahead_of(BETWEEN)),
        (WATERMARK, ABOVE, False, ahead_of(ABOVE)),
        # The store's watermark is below: it was put back, whatever its head is.
        (BELOW, BELOW, True, BEHIND),
        (BELOW, 0, True, BEHIND),
        (BELOW, WATERMARK, True, BEHIND),
        (BELOW, HEAD, True, BEHIND),
        (BELOW, BETWEEN, False, ahead_of(BETWEEN, BEHIND)),
        (BELOW, ABOVE, False, ahead_of(ABOVE, BEHIND)),
        # The log's is saved now and then: the store's may be above it, where the log knows it.
        (BETWEEN, BETWEEN, True, AGREED),
        (HEAD, HEAD, True, AGREED),
        (BETWEEN, BELOW, True, AGREED),
        (BETWEEN, BETWEEN, False, ahead_of(BETWEEN)),
        (ABOVE, ABOVE, False, ahead_of(ABOVE)),
        (ABOVE, 0, False, ahead_of(ABOVE)),
        (BETWEEN, ABOVE, False, ahead_of(ABOVE)),
        # A store of an earlier program has no watermark: the lower of the log's and its head.
        (None, WATERMARK, True, AGREED),
        (None, BETWEEN, True, AGREED),
        (None, HEAD, True, AGREED),
        (None, BELOW, True, BEHIND),
        (None, 0, False, BEHIND._replace(stored=TRIMMED)),
        (None, BETWEEN, False, ahead_of(BETWEEN)),
        (None, ABOVE, False, ahead_of(ABOVE)),
    ],
)
def test_the_store_that_it_was(
    watermark: int | None, head: int, known: bool, expected: Reconciliation
) -> None:
    assert reconcile(LOG, StoreState("ours", mark(watermark), head), known=known) == expected


@pytest.mark.parametrize(
    ("watermark", "expected"),
    [
        (TRIMMED, None),
        (TRIMMED + 1, None),
        (TRIMMED - 1, (TRIMMED - 1, TRIMMED)),
        (0, (0, TRIMMED)),
        (None, None),
    ],
)
def test_what_the_store_lost_and_the_log_has_deleted_is_a_hole(
    watermark: int | None, expected: tuple[int, int] | None
) -> None:
    found = reconcile(LOG, StoreState("ours", mark(watermark), 5), known=True)
    assert found.hole == expected
    assert found.stored == max(TRIMMED, watermark or 0)


def test_holes_are_remembered_and_joined() -> None:
    log = LOG._replace(hole=(3, 7))
    assert reconcile(log, StoreState("ours", mark(WATERMARK), HEAD), known=True).hole == (3, 7)
    assert reconcile(log, StoreState("ours", mark(BELOW), HEAD), known=True).hole == (3, 7)
    assert reconcile(log, StoreState("ours", mark(10), HEAD), known=True).hole == (3, TRIMMED)
    full = StoreState("another", mark(TRIMMED), HEAD)
    assert reconcile(log, full, known=True).hole is None
    assert reconcile(log._replace(hole=(3, TRIMMED)), full, known=True).hole is None
    taken_out = log._replace(hole=(3, TRIMMED + 1))
    assert reconcile(taken_out, full, known=True).hole == (3, TRIMMED + 1)


@pytest.mark.parametrize(
    ("removed", "watermark", "identity", "hole"),
    [
        ((34, 35), WATERMARK, "ours", None),  # the store has it
        ((34, 35), BELOW, "ours", None),
        ((44, 45), BELOW, "ours", (44, 45)),  # it was put back to before it had it
        ((44, 45), 10, "ours", (10, 45)),
        ((44, 45), WATERMARK, "another", None),  # a copy of this log's own
        ((44, 45), BELOW, "another", (44, 45)),
        ((44, 45), None, "another", (0, 45)),
    ],
)
def test_what_an_operator_took_out_is_missing_where_the_store_lacks_it(
    removed: tuple[int, int], watermark: int | None, identity: str, hole: tuple[int, int] | None
) -> None:
    log = LOG._replace(removed=removed)
    assert reconcile(log, StoreState(identity, mark(watermark), 0), known=True).hole == hole


def test_what_a_store_says_that_it_has_lost_is_believed() -> None:
    """The log may be an older one, that has not seen it go."""
    for identity in ("ours", "another"):
        store = StoreState(identity, Mark(WATERMARK, 2, "now", (3, 7)), HEAD)
        assert reconcile(LOG, store, known=True).hole == (3, 7)
    store = StoreState("ours", Mark(10, 2, "now", (3, 7)), HEAD)
    assert reconcile(LOG, store, known=True).hole == (3, TRIMMED)


def test_a_store_put_back_to_before_it_had_a_mark_holds_nothing_for_sure() -> None:
    log = LOG._replace(marked=True)
    found = reconcile(log, StoreState("ours", None, WATERMARK), known=True)
    assert (found.behind, found.stored, found.hole) == (True, TRIMMED, (0, TRIMMED))


def test_where_nothing_was_deleted_nothing_is_missing() -> None:
    log = LOG._replace(start=TRIMMED)
    assert reconcile(log, StoreState("ours", mark(5), 5), known=True).hole is None
    assert reconcile(log, StoreState("another", None, 0), known=True).hole is None


@pytest.mark.parametrize(
    ("set_by", "position", "behind", "stored", "ahead"),
    [
        # Set by the epoch before: what the present one has placed below it is not in there.
        (FIRST, WATERMARK, True, NOW.begun, False),
        (FIRST, HEAD, True, NOW.begun, False),
        (FIRST, 25, True, 25, False),
        # Set by an epoch of the same number that is not this one: the two forked.
        (EpochEntry(2, "fork", 0), WATERMARK, True, NOW.begun, True),
        # Set by a later one: the log is an older one, and all that it believes is in there.
        (EpochEntry(3, "later", 0), HEAD, False, WATERMARK, True),
        (EpochEntry(3, "later", 0), BELOW, True, BELOW, True),
        # Set by one from before those that are remembered.
        (EpochEntry(0, "long ago", 0), HEAD, True, TRIMMED, False),
    ],
)
def test_a_mark_counts_for_the_epoch_that_set_it(
    set_by: EpochEntry, position: int, behind: bool, stored: int, ahead: bool
) -> None:
    found = reconcile(LOG, StoreState("ours", mark(position, set_by), HEAD), known=True)
    assert (found.behind, found.stored, found.ahead) == (behind, stored, ahead)


@pytest.mark.parametrize("base", [0, 30, BETWEEN, ABOVE])
def test_what_the_base_covers_is_known_already(base: int) -> None:
    found = reconcile(LOG._replace(base=base), StoreState("ours", mark(60), 60), known=False)
    assert found.ahead == (base < 60)
    assert found.base == max(base, 60)


ANOTHER = AGREED._replace(another=True, behind=True, stored=TRIMMED, margin=0)


@pytest.mark.parametrize(
    ("watermark", "head", "known", "expected"),
    [
        (None, 0, False, ANOTHER._replace(hole=(0, TRIMMED))),
        (10, 15, False, ANOTHER._replace(base=15, hole=(10, TRIMMED))),
        (TRIMMED, TRIMMED, False, ANOTHER._replace(base=TRIMMED)),
        (BELOW, BELOW, True, ANOTHER._replace(base=BELOW)),
        (BELOW, BELOW, False, ANOTHER._replace(base=BELOW, ahead=True)),
        (None, ABOVE, False, ANOTHER._replace(base=ABOVE, ahead=True, hole=(0, TRIMMED))),
    ],
)
def test_another_store(
    watermark: int | None, head: int, known: bool, expected: Reconciliation
) -> None:
    assert reconcile(LOG, StoreState("another", mark(watermark), head), known=known) == expected


def test_of_a_stranger_no_word_is_taken() -> None:
    """Its mark was set by another service's log."""
    stranger = StoreState("another", Mark(70, 9, "theirs"), 10)
    found = reconcile(LOG, stranger, known=True)
    assert (found.stored, found.hole) == (TRIMMED, (0, TRIMMED))
    assert found.ahead, "its epochs are counted further"


@pytest.mark.parametrize(
    ("head", "empty", "expected"),
    [
        (0, True, AGREED._replace(stored=TRIMMED)),
        (0, False, AGREED._replace(stored=TRIMMED)),
        (10, False, AGREED._replace(stored=TRIMMED, base=10)),
        (TRIMMED, False, AGREED._replace(stored=TRIMMED, base=TRIMMED)),
        (BETWEEN, False, AGREED._replace(stored=TRIMMED, base=BETWEEN, ahead=True)),
        (ABOVE, False, AGREED._replace(stored=TRIMMED, base=ABOVE, ahead=True)),
        (ABOVE, True, AGREED._replace(stored=TRIMMED, base=ABOVE)),
    ],
)
def test_a_log_that_began_while_the_store_was_away(
    head: int, empty: bool, expected: Reconciliation
) -> None:
    """Nothing was deleted from it yet, nor stored."""
    log = LOG._replace(store=None, stored=TRIMMED, start=TRIMMED, empty=empty)
    store = StoreState("ours", None, head)
    assert reconcile(log, store, known=False) == expected
    assert reconcile(log, store, known=True) == expected._replace(ahead=False)


NEW = LOG._replace(store=None, stored=1, trimmed=1, empty=True)
PUT_BACK = LOG._replace(stored=20, base=1000)
NO, ADOPTION, REWRITING = StateDue.NOTHING, StateDue.ADOPTION, StateDue.REWRITING


@pytest.mark.parametrize(
    ("log", "store", "known", "before", "expected"),
    [
        # They agree: what was due before that still is.
        (LOG, StoreState("ours", mark(WATERMARK), HEAD), True, NO, NO),
        (LOG, StoreState("ours", mark(WATERMARK), HEAD), True, REWRITING, REWRITING),
        (LOG, StoreState("ours", mark(WATERMARK), HEAD), True, ADOPTION, ADOPTION),
        # The store is older, or another one: it may lack rows, unless the log's are to go.
        (LOG, StoreState("ours", mark(BELOW), BELOW), True, NO, REWRITING),
        (LOG, StoreState("theirs", None, 0), True, NO, REWRITING),
        (LOG, StoreState("theirs", None, 0), True, ADOPTION, ADOPTION),
        # The store has seen what the log has not: a restored, shortened or forked log.
        (LOG, StoreState("ours", mark(ABOVE), ABOVE), False, NO, ADOPTION),
        (LOG, StoreState("ours", mark(BELOW), BETWEEN), False, REWRITING, ADOPTION),
        (LOG, StoreState("theirs", mark(ABOVE), ABOVE), False, NO, ADOPTION),
        # So has it where the log was put back by a command, and knows that by its base.
        (PUT_BACK, StoreState("ours", mark(ABOVE, FIRST), ABOVE), False, NO, ADOPTION),
        (PUT_BACK, StoreState("ours", mark(BELOW, FIRST), BETWEEN), False, NO, ADOPTION),
        # ... but not where the store was put back with it, which may lack rows that came from it,
        # or something is due that adds to it.
        (PUT_BACK, StoreState("ours", mark(20, FIRST), 30), True, NO, REWRITING),
        (PUT_BACK, StoreState("ours", mark(1000), 1000), True, NO, NO),
        (PUT_BACK, StoreState("ours", mark(ABOVE, FIRST), ABOVE), False, REWRITING, REWRITING),
        (PUT_BACK, StoreState("ours", mark(20, FIRST), 20), True, ADOPTION, ADOPTION),
        # ... nor where it was the store, long after.
        (LOG, StoreState("ours", mark(BELOW, FIRST), BELOW), True, NO, REWRITING),
        # A new log: what was before is the store's, where there is something.
        (NEW, StoreState("ours", None, 0), False, ADOPTION, NO),
        (NEW, StoreState("ours", None, 0, only_rows=True), False, ADOPTION, ADOPTION),
        (NEW, StoreState("ours", None, 0, only_rows=True), False, NO, ADOPTION),
        (NEW, StoreState("ours", mark(BELOW), BELOW), False, ADOPTION, ADOPTION),
        (NEW, StoreState("ours", None, BELOW), True, NO, ADOPTION),
        # ... and one that began without its store, and has accepted something since.
        (NEW._replace(empty=False), StoreState("ours", None, 0), False, ADOPTION, NO),
        (NEW._replace(empty=False), StoreState("ours", None, ABOVE), False, ADOPTION, ADOPTION),
    ],
)
def test_whose_rows_of_state_count(
    log: LogPositions, store: StoreState, known: bool, before: StateDue, expected: StateDue
) -> None:
    assert state_due(log, store, reconcile(log, store, known=known), before) is expected
