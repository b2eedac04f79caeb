"""What the log's file keeps beside its records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.log.local.attachment import begin_epoch
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.positions import (
    MAX_EPOCHS,
    Positions,
    head_of,
    load,
    remembered,
    trimmed_of,
)
from chatsvc.log.reconcile import EpochEntry


def test_few_lives_are_remembered_as_they_are() -> None:
    epochs = tuple(EpochEntry(at, f"e{at}", 100 - at) for at in range(MAX_EPOCHS))
    assert remembered(epochs) == epochs


def test_the_oldest_epoch_that_stays_stands_for_those_that_go(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.db")
    first = EpochEntry(0, "first", 60)
    positions = begin_epoch(load(file)._replace(epochs=(first,)), 50)
    for at in range(MAX_EPOCHS + 5):
        positions = begin_epoch(positions, 200 + at)
    assert len(positions.epochs) == MAX_EPOCHS
    assert positions.epochs[0].begun == 50, "a cursor of a forgotten epoch is good up to there"
    assert [entry.begun for entry in positions.epochs[1:]] == list(range(206, 205 + MAX_EPOCHS))
    file.set_metas(positions.meta())
    file.set_meta("epoch", "another")  # as a command of an earlier program began one
    again = load(file).epochs
    assert (len(again), again[0].begun, again[-1].epoch) == (MAX_EPOCHS, 50, "another")
    file.close()


def test_a_forgotten_first_epoch_has_no_beginning_to_keep() -> None:
    epochs = (
        EpochEntry(0, "first", MAX_ID),
        *(EpochEntry(at, f"e{at}", at) for at in range(1, MAX_EPOCHS + 1)),
    )
    assert remembered(epochs) == epochs[1:]


FULL = Positions(
    epochs=(EpochEntry(2, "first", 0), EpochEntry(3, "before", 4), EpochEntry(4, "now", 12)),
    created_ms=17,
    store="s",
    stored=20,
    settled=30,
    start=5,
    trimmed=10,
    base=40,
    unconfirmed=41,
    hole=(6, 7),
    marked=True,
    removed=(8, 9),
)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "log.db")
    yield made
    made.close()


def insert(file: LogFile, *ids: int) -> None:
    file.insert([(record_id, 0, b"") for record_id in ids])


def unset(file: LogFile, *keys: str) -> None:
    """As a program wrote it that knew nothing of them."""
    for key in keys:
        file._db.execute("DELETE FROM meta WHERE key=?", (key,))


@pytest.mark.parametrize(
    "positions",
    [FULL, FULL._replace(store=None, unconfirmed=None, hole=None, marked=False, removed=None)],
    ids=["all", "what may be absent"],
)
def test_what_is_written_is_what_is_read(file: LogFile, positions: Positions) -> None:
    file.set_metas(positions.meta() | {"trimmed": positions.trimmed})
    assert load(file) == positions
    assert trimmed_of(file) == 10
    for key, value in positions.meta().items():
        assert file.meta(key) == value
        assert value is not None, "what is absent is an empty text"


def test_a_file_that_says_nothing_stands_at_the_beginning(file: LogFile) -> None:
    unset(file, "trimmed", "created_ms")
    assert load(file) == Positions(
        epochs=(EpochEntry(0, str(file.meta("epoch")), 0),),
        created_ms=0,
        store=None,
        stored=0,
        settled=0,
        start=0,
        trimmed=0,
        base=0,
        unconfirmed=None,
        hole=None,
        marked=False,
        removed=None,
    )
    assert trimmed_of(file) == 0


@pytest.mark.parametrize(("watermark", "base"), [(20, 30), (30, 20)])
def test_an_older_file_without_rows_claims_nothing_up_to_its_marks(
    file: LogFile, watermark: int, base: int
) -> None:
    file.set_metas({"watermark": watermark, "base": base})
    unset(file, "trimmed")
    assert load(file).trimmed == 30
    insert(file, 9, 35)
    assert load(file).trimmed == 8, "what it holds was not deleted"


def test_rows_above_what_was_trimmed_say_nothing_of_what_is_between(file: LogFile) -> None:
    """All was trimmed, and what came next came later: nobody knows what had its ids."""
    file.set_metas({"trimmed": 10, "watermark": 5, "settled": 7})
    insert(file, 21)
    found = load(file)
    assert (found.trimmed, found.stored, found.settled) == (10, 10, 10)


def test_the_head_is_the_highest_that_the_file_knows_of(file: LogFile) -> None:
    insert(file, 50)
    assert head_of(file, FULL) == 50
    assert head_of(file, FULL._replace(base=60)) == 60
    assert head_of(file, FULL._replace(trimmed=70)) == 70


@pytest.mark.parametrize(("head", "begun"), [(30, 40), (50, 50)])
def test_an_epoch_that_a_command_began_is_counted_on(file: LogFile, head: int, begun: int) -> None:
    insert(file, head)
    file.set_metas(FULL.meta() | {"epoch": "by a command"})
    assert load(file).epochs == (*FULL.epochs, EpochEntry(5, "by a command", begun))
