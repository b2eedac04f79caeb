"""What the log's file keeps beside its records."""

from __future__ import annotations

from pathlib import Path

from chatsvc.core.ids import MAX_ID
from chatsvc.log.file import LogFile
from chatsvc.log.positions import LIVES, load, remembered
from chatsvc.log.reconcile import Life
from chatsvc.log.standing import new_life


def test_few_lives_are_remembered_as_they_are() -> None:
    lives = tuple(Life(at, f"e{at}", 100 - at) for at in range(LIVES))
    assert remembered(lives) == lives


def test_the_oldest_life_that_stays_stands_for_those_that_go(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.db")
    positions = new_life(load(file), 50)
    for at in range(LIVES + 5):
        positions = new_life(positions, 200 + at)
    assert len(positions.lives) == LIVES
    assert positions.lives[0].begun == 50, "a cursor of a forgotten life is good up to there"
    assert [life.begun for life in positions.lives[1:]] == list(range(206, 205 + LIVES))
    file.set_metas(positions.meta())
    file.set_meta("epoch", "another")  # as a command of an earlier program began one
    again = load(file).lives
    assert (len(again), again[0].begun, again[-1].epoch) == (LIVES, 50, "another")
    file.close()


def test_a_forgotten_first_life_has_no_beginning_to_keep() -> None:
    lives = (Life(0, "first", MAX_ID), *(Life(at, f"e{at}", at) for at in range(1, LIVES + 1)))
    assert remembered(lives) == lives[1:]
