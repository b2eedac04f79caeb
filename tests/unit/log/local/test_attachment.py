"""What the positions are after a store was attached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.ids import format_id
from chatsvc.log.local.attachment import Attachment, attach, begin_epoch, check_end
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.positions import Positions
from chatsvc.log.reconcile import EpochEntry, Mark, StoreState
from testkit.drafts import record
from tests.unit.support.log_rows import row

FIRST, NOW = EpochEntry(1, "first", 0), EpochEntry(2, "now", 15)
POSITIONS = Positions(
    epochs=(FIRST, NOW),
    created_ms=0,
    store="s",
    stored=30,
    settled=40,
    start=5,
    trimmed=9,
    base=0,
    unconfirmed=41,
    hole=None,
    marked=True,
    removed=None,
)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "positions.db")
    for one in map(record, (10, 20, 30, 40)):
        made.insert([row(one)])
    yield made
    made.close()


def attached(file: LogFile, met: StoreState, **positions: Any) -> Attachment:
    before = POSITIONS._replace(**positions)
    found = attach(file, before, met, trimmed=9, empty=False, differ=27)
    for key, value in found.positions.meta().items():
        assert file.meta(key) == value, "it is kept"
    return found


def agreeing(position: int = 30) -> StoreState:
    return StoreState("s", Mark(position, NOW.generation, NOW.epoch), position)


def test_a_store_that_agrees_confirms_what_the_log_has(file: LogFile) -> None:
    positions, found, begin, refill = attached(file, agreeing())
    assert positions == POSITIONS._replace(unconfirmed=None)
    assert found is not None
    assert (found.another, found.behind, found.ahead) == (False, False, False)
    assert begin == 9, "a margin below it is stored again"
    assert refill == 1


@pytest.mark.parametrize("marked", [False, True])
def test_that_a_store_had_a_mark_is_known_of_that_store_alone(file: LogFile, marked: bool) -> None:
    assert attached(file, agreeing(), marked=marked).positions.marked == marked
    another = agreeing()._replace(identity="another")
    assert not attached(file, another, marked=marked).positions.marked


def test_a_store_that_is_older_is_not_believed_in_the_margin_either(file: LogFile) -> None:
    positions, found, begin, refill = attached(file, agreeing(20))
    assert found is not None
    assert found.behind
    assert (positions.stored, begin, refill) == (9, 9, 4)
    assert positions.epochs == (FIRST, NOW)


def test_the_first_store_counts_the_present_epoch_on_and_no_other(file: LogFile) -> None:
    for generation, counted in ((5, 6), (2, 3), (1, 2)):
        store = StoreState("s", Mark(4, generation, "before"), 4)
        positions = attached(file, store, store=None).positions
        assert positions.epochs == (FIRST, NOW._replace(generation=counted))


def test_a_new_epoch_is_counted_above_both_and_begins_at_what_may_differ(file: LogFile) -> None:
    for generation, counted in ((1, 3), (7, 8)):
        store = StoreState("s", Mark(60, generation, "theirs"), 60)
        for unconfirmed, begun in ((None, 27), (41, 27), (26, 26)):
            positions = attached(file, store, unconfirmed=unconfirmed).positions
            assert positions.epochs[:-1] == (FIRST, NOW)
            assert (positions.epochs[-1].generation, positions.epochs[-1].begun) == (counted, begun)
            assert positions.epoch not in ("first", "now", "theirs")
            assert (positions.base, positions.unconfirmed) == (60, None)


def test_an_epoch_has_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsvc.log.local.attachment.now_ms", lambda: 17)
    assert begin_epoch(POSITIONS, 27).created_ms == 17
    assert begin_epoch(POSITIONS, 27).epochs[-1].generation == 3


@pytest.mark.parametrize(("stored", "settled_to", "head"), [(41, 40, 40), (40, 41, 40)])
def test_a_watermark_above_the_head_is_damage(
    file: LogFile, stored: int, settled_to: int, head: int
) -> None:
    positions = POSITIONS._replace(stored=stored, settled=settled_to)
    with pytest.raises(Exception, match="0029 is above the head 0000000000000028: the end of"):
        check_end(file, positions, head)
    check_end(file, positions, head + 1)


@pytest.mark.parametrize("marked_at", [None, 30], ids=["the newest", "with a mark at it"])
def test_what_a_store_shows_is_compared_by_what_it_means(
    file: LogFile, marked_at: int | None
) -> None:
    mark = None if marked_at is None else Mark(marked_at, NOW.generation, NOW.epoch)
    body = record(30).body
    spaced = json.dumps(json.loads(body), indent=2).encode()
    for newest, ahead in ((body, False), (spaced, False), (record(30, "other").body, True)):
        found = attached(file, StoreState("s", mark, 30, newest), marked=False).reconciliation
        assert found is not None
        assert found.ahead == ahead


def test_a_newest_below_the_mark_says_nothing_of_what_is_at_it(file: LogFile) -> None:
    store = StoreState("s", Mark(30, NOW.generation, NOW.epoch), 20, record(20).body)
    found = attached(file, store).reconciliation
    assert found is not None
    assert not found.ahead


def test_what_is_missing_is_said_once(file: LogFile) -> None:
    with capture_logs() as lines:
        attached(file, agreeing())
        attached(file, agreeing(), hole=(1, 2))
    assert lines == []
    with capture_logs() as lines:
        found = attached(file, agreeing(7))
        attached(file, agreeing(7), hole=(7, 9))
    assert found.positions.hole == (7, 9)
    (line,) = [line for line in lines if line["event"] == "history_is_missing"]
    assert line == {
        "event": "history_is_missing",
        "log_level": "error",
        "above": format_id(7),
        "up_to": format_id(9),
        "meaning": "the store lacks it, and the log has deleted it",
    }
