"""What the log's file keeps beside its records."""

from __future__ import annotations

from pathlib import Path

from chatsvc.core.ids import MAX_ID
from chatsvc.log.file import LogFile
from chatsvc.log.positions import MAX_EPOCHS, load, remembered
from chatsvc.log.reconcile import EpochEntry
from chatsvc.log.standing import begin_epoch


def test_few_lives_are_remembered_as_they_are() -> None:
    epochs = tuple(EpochEntry(at, f"e{at}", 100 - at) for at in range(MAX_EPOCHS))
    assert remembered(epochs) == epochs


def test_the_oldest_life_that_stays_stands_for_those_that_go(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.db")
    positions = begin_epoch(load(file), 50)
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


def test_a_forgotten_first_life_has_no_beginning_to_keep() -> None:
    epochs = (
        EpochEntry(0, "first", MAX_ID),
        *(EpochEntry(at, f"e{at}", at) for at in range(1, MAX_EPOCHS + 1)),
    )
    assert remembered(epochs) == epochs[1:]
