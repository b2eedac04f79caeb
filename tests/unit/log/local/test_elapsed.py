"""The age of a position, whatever the wall clock says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from chatsvc.log.local import elapsed
from chatsvc.log.local.elapsed import ElapsedHeads, Instant, now


class FakeClock:
    def __init__(self, boot: str = "boot-1", seconds: float = 1000.0) -> None:
        self.instant = Instant(boot, seconds)

    def __call__(self) -> Instant:
        return self.instant

    def advance(self, seconds: float) -> None:
        self.instant = self.instant._replace(seconds=self.instant.seconds + seconds)


def test_nothing_is_old_at_first() -> None:
    assert ElapsedHeads(clock=FakeClock()).older_than(0) == 0


def test_a_head_ages_by_the_seconds_that_pass() -> None:
    clock = FakeClock()
    heads = ElapsedHeads(clock=clock)
    heads.note(10)
    clock.advance(60)
    heads.note(20)
    clock.advance(30)
    assert heads.older_than(90) == 10
    assert heads.older_than(90.5) == 0
    assert heads.older_than(30) == 20
    assert heads.older_than(0) == 20


def test_a_head_that_stands_still_keeps_its_first_age() -> None:
    clock = FakeClock()
    heads = ElapsedHeads(clock=clock)
    heads.note(10)
    clock.advance(60)
    heads.note(10)
    heads.note(9)
    assert heads.older_than(60) == 10


def test_time_stopped_counts_within_one_boot() -> None:
    clock = FakeClock()
    heads = ElapsedHeads(clock=clock)
    heads.note(10)
    clock.advance(5)
    saved = heads.save()
    clock.advance(100)
    again = ElapsedHeads(saved, clock=clock)
    assert again.lived == 105
    assert again.older_than(105) == 10


def test_time_over_a_boot_does_not_count() -> None:
    clock = FakeClock()
    heads = ElapsedHeads(clock=clock)
    heads.note(10)
    clock.advance(5)
    again = ElapsedHeads(heads.save(), clock=FakeClock("boot-2", 9_999_999.0))
    assert again.lived == 5
    assert again.older_than(5) == 10
    assert again.older_than(6) == 0


def test_an_unknown_boot_is_never_the_same() -> None:
    heads = ElapsedHeads(clock=FakeClock("", 5.0))
    heads.note(10)
    assert ElapsedHeads(heads.save(), clock=FakeClock("", 500.0)).lived == 0


def test_a_virtual_machine_put_back_does_not_go_back() -> None:
    heads = ElapsedHeads(clock=FakeClock(seconds=500.0))
    heads.note(10)
    again = ElapsedHeads(heads.save(), clock=FakeClock(seconds=400.0))
    assert again.lived == 0


def test_what_cannot_be_read_counts_as_nothing() -> None:
    for saved in (None, b"", "", b"{", b"\xff", b'[2,1.0,"",1.0,[]]', b"[1]"):
        heads = ElapsedHeads(saved, clock=FakeClock())
        assert heads.older_than(0) == 0
        assert heads.lived == 0


def test_a_year_of_notes_stays_small_and_is_true_to_a_hundredth() -> None:
    clock = FakeClock()
    heads = ElapsedHeads(clock=clock)
    for second in range(0, 400_000, 10):
        heads.note(second + 1)
        clock.advance(10)
    assert len(heads.save()) < 100_000
    for age in (10, 600, 3600, 86_400, 300_000):
        exact = 400_000 - age + 1
        found = heads.older_than(age)
        assert exact - age / 64 - 20 <= found <= exact


def test_the_machine_names_its_boot() -> None:
    first, second = now(), now()
    assert first.boot == second.boot
    assert first.seconds <= second.seconds


def test_a_machine_that_does_not_name_its_boot_counts_this_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elapsed, "_BOOT_ID", tmp_path / "is not there")
    first, second = now(), now()
    assert first.boot == second.boot == ""
    assert 0 < first.seconds <= second.seconds


def notes_of(heads: ElapsedHeads) -> list[list[float]]:
    notes: list[list[float]] = msgspec.json.decode(heads.save())[-1]
    return notes


def test_a_head_that_stands_still_is_noted_once() -> None:
    clock = FakeClock()
    heads = ElapsedHeads(clock=clock)
    for _ in range(5):
        heads.note(10)
        clock.advance(1)
    assert notes_of(heads) == [[0.0, 10]]


@pytest.mark.parametrize(
    ("precision", "noted", "kept"),
    [
        # Between the neighbours of one that goes lies no more than its age.
        (1, range(11), [0, 5, 8, 9, 10]),
        # ... than half of its age.
        (2, [0, 60, 70, 80, 90, 100], [0, 60, 70, 80, 90, 100]),
    ],
)
def test_notes_are_thinned_by_their_age_and_the_ends_stay(
    monkeypatch: pytest.MonkeyPatch, precision: int, noted: Sequence[int], kept: list[int]
) -> None:
    monkeypatch.setattr(elapsed, "_THIN_AT", len(noted))
    monkeypatch.setattr(elapsed, "_PRECISION", precision)
    clock = FakeClock(seconds=0.0)
    heads = ElapsedHeads(clock=clock)
    for seconds in noted:
        clock.instant = Instant("boot-1", float(seconds))
        heads.note(seconds + 1)
    assert notes_of(heads) == [[float(seconds), seconds + 1] for seconds in kept]
