"""What is said of a log that is looked over, and what is kept of what an operator decides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from chatsvc.core.ids import format_id, id_at
from chatsvc.log.local import given_ids, verify
from chatsvc.log.local.damage import unfinished_loss
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.given_ids import ID_MARGIN
from chatsvc.log.local.opening import positions_at_start
from chatsvc.log.local.positions import Positions, load
from chatsvc.log.local.verify import BadRow, Verdict, accept_loss, begin_restored_epoch
from testkit.drafts import record
from tests.unit.support.log_rows import row

IDS = (10, 20, 30, 40)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with closing(LogFile(tmp_path / "data" / "log.db")) as file:
        for one in map(record, IDS):
            file.insert([row(one)])
    return tmp_path / "data" / "log.db"


@pytest.fixture(autouse=True)
def _a_clock_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_ids, "now_ms", lambda: 17)
    monkeypatch.setattr(verify, "now_ms", lambda: 18)


def set_metas(path: Path, **values: str | int) -> None:
    with closing(LogFile(path)) as file:
        file.set_metas(values)


def positions_of(path: Path) -> Positions:
    with closing(LogFile(path)) as file:
        return load(file)


def verdict_of(path: Path) -> Verdict:
    """And nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))
    found = verify.verify(path)
    assert len(os.listdir("/proc/self/fd")) == before
    return found


def remove(path: Path, ids: Sequence[int]) -> None:
    verify.remove(path, tuple(BadRow(one, "checksum", b"") for one in ids))


# --- looking over


def test_a_good_log_is_counted(log: Path) -> None:
    found = verdict_of(log)
    assert found == Verdict(4, (), ())
    assert found.good


def test_a_damaged_write_ahead_log_is_said_with_what_would_be_lost(log: Path) -> None:
    with closing(LogFile(log)) as file:
        for at in (50, 60, 70):
            file.insert([(at, 0, b"x")])
        data = bytearray(log.with_name("log.db-wal").read_bytes())
    frames = range(32, len(data), 24 + 4096)
    data[frames[1] + 100] ^= 1
    log.with_name("log.db-wal").write_bytes(data)
    found = verdict_of(log)
    text = f"the write-ahead log is damaged at byte {frames[1]}: 1 commits are good, 2 behind"
    assert found == Verdict(0, (f"{text} would be lost",), ())
    assert not found.good


def test_a_loss_that_was_not_accepted_to_the_end_is_said(log: Path) -> None:
    unfinished_loss(log).touch()
    assert verdict_of(log) == Verdict(
        0, ("an accepted loss was not finished: accept it again",), ()
    )


def test_damaged_pages_are_said_and_no_row_is_looked_at(log: Path) -> None:
    data = bytearray(log.read_bytes())
    leaf = next(at for at in range(4096, len(data), 4096) if data[at] == 0x0D and data[at + 4] == 4)
    data[leaf + 8 : leaf + 10] = data[leaf + 10 : leaf + 12]
    log.write_bytes(data)
    found = verdict_of(log)
    assert (found.records, found.rows) == (0, ())
    assert found.errors
    assert all(text.startswith("a page is damaged: ") for text in found.errors)


def test_each_row_that_changed_is_told_with_its_bytes(log: Path) -> None:
    with closing(LogFile(log)) as file:
        file._db.execute("UPDATE records SET data=x'6162' WHERE id=20")
    found = verdict_of(log)
    assert found == Verdict(4, (), (BadRow(20, "checksum", b"ab"),))
    assert not found.good


@pytest.mark.parametrize(
    ("base", "watermark", "good"), [(0, 40, True), (0, 41, False), (50, 50, True), (50, 51, False)]
)
def test_a_watermark_above_all_that_there_is_is_said(
    log: Path, base: int, watermark: int, good: bool
) -> None:
    set_metas(log, base=base, watermark=watermark)
    text = (
        f"the watermark {format_id(watermark)} is above the head {format_id(max(base, 40))}: "
        "the end of the log is missing"
    )
    assert verdict_of(log) == Verdict(4, () if good else (text,), ())


def test_an_end_that_a_store_before_this_one_had_is_missing_too(log: Path) -> None:
    """As at a start: ``settled`` is above the watermark while another store is being filled."""
    set_metas(log, watermark=20, settled=41)
    (error,) = verdict_of(log).errors
    assert error.startswith(f"the watermark {format_id(41)} is above the head {format_id(40)}")


def test_a_log_that_began_while_its_store_was_away_is_good(tmp_path: Path) -> None:
    """It begins above anything that the store may hold, and so does its watermark."""
    with closing(LogFile(tmp_path / "log.db")) as file:
        assert positions_at_start(file, None).positions.stored > 0
    assert verdict_of(tmp_path / "log.db") == Verdict(0, (), ())


def test_an_empty_log_is_good_unless_something_was_stored_of_it(tmp_path: Path) -> None:
    LogFile(tmp_path / "log.db").close()
    assert verdict_of(tmp_path / "log.db") == Verdict(0, (), ())
    set_metas(tmp_path / "log.db", watermark=1)
    assert not verdict_of(tmp_path / "log.db").good


# --- taking rows out


def test_what_is_stored_can_be_taken_out_without_a_loss(log: Path) -> None:
    set_metas(log, watermark=20, settled=20, keys_epoch="the present")
    before = positions_of(log)
    remove(log, [10, 20])
    with closing(LogFile(log)) as file:
        assert file.meta("keys_epoch") == "", "the store is asked for its key"
        assert [one.id for one in file.read(0)] == [30, 40]
    after = positions_of(log)
    assert (after.epochs, after.hole, after.base) == (before.epochs, None, 20)


def test_what_was_not_stored_is_lost_together_with_what_was_lost_before(log: Path) -> None:
    set_metas(log, watermark=10, hole=f"{format_id(3)}-{format_id(7)}")
    before = positions_of(log)
    remove(log, [10, 40, 20])
    after = positions_of(log)
    assert after.hole == (3, 40)
    assert after.epochs[:-1] == before.epochs
    assert after.epochs[-1].begun == 19
    assert after.base == 40


# --- going on without a part


def test_an_accepted_loss_is_copied_first_and_durable_before_it_is_called_done(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = log.read_bytes()
    epoch = positions_of(log).epoch
    synced: list[tuple[str, bool]] = []
    unfinished = unfinished_loss(log)

    def sync(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), unfinished.exists()))
        if unfinished.exists():
            assert unfinished.stat().st_mode & 0o777 == 0o600

    monkeypatch.setattr(os, "fsync", sync)
    descriptors = len(os.listdir("/proc/self/fd"))
    copies = accept_loss(log)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert copies == log.with_name("before-accepted-loss-18")
    assert (copies / "log.db").read_bytes() == before
    assert synced == [(str(log.parent), True), (str(log.parent), False)]
    after = positions_of(log)
    base = id_at(17) + ID_MARGIN
    assert (after.base, after.hole, after.epochs[-1].begun) == (base, (40, base), 40)
    assert after.epoch != epoch


def test_what_a_store_has_above_the_head_is_no_part_of_a_loss(log: Path) -> None:
    set_metas(log, watermark=60, settled=60, hole=f"{format_id(3)}-{format_id(7)}")
    accept_loss(log)
    after = positions_of(log)
    assert after.epochs[-1].begun == 60
    assert after.hole == (3, after.base)


@pytest.mark.parametrize(("given", "highest"), [(None, id_at(17)), (id_at(19), id_at(19))])
def test_a_log_that_is_put_back_goes_on_above_all_that_was_given(
    log: Path, given: int | None, highest: int
) -> None:
    set_metas(log, base=45)
    before = positions_of(log)
    if given is None:
        begin_restored_epoch(log)
    else:
        begin_restored_epoch(log, given)
    after = positions_of(log)
    assert after.base == highest + ID_MARGIN
    assert after.epochs[:-1] == before.epochs
    assert after.epochs[-1].begun == 45
    assert after.hole is None


def test_a_log_of_which_nothing_is_known_begins_a_margin_above_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_ids, "now_ms", lambda: 0)
    with closing(LogFile(tmp_path / "log.db")) as file:
        assert given_ids.above_all_given(file) == ID_MARGIN
    begin_restored_epoch(tmp_path / "log.db")
    assert positions_of(tmp_path / "log.db").base == ID_MARGIN
