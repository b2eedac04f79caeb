"""Damage is found, put aside or accepted; never passed over."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.errors import LogDamaged
from chatsvc.core.ids import id_at, now_ms
from chatsvc.core.message import draft_message
from chatsvc.core.record import accept
from chatsvc.log.local.damage import unfinished_loss
from chatsvc.log.local.elapsed import ElapsedHeads
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.given_ids import ID_MARGIN
from chatsvc.log.local.positions import load
from chatsvc.log.local.record_reader import Row
from chatsvc.log.local.verify import BadRow, accept_loss, begin_restored_epoch, remove, verify
from tests.unit.support import log_rows


def row(number: int) -> Row:
    draft = draft_message(
        channel="alice,bob",
        participants=("alice", "bob"),
        sender="alice",
        content=f"message {number} " + "x" * 500,
        origin="",
    )
    record = accept(draft, id_at(1_700_000_000_000) + (number << 6))
    return log_rows.row(record)


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A log as a crash leaves it: 40 commits of one record each, all in the WAL."""
    file = LogFile(tmp_path / "running" / "log.db")
    for number in range(1, 41):
        file.insert([row(number)])
    shutil.copytree(tmp_path / "running", tmp_path / "crashed")
    file.close()
    return tmp_path / "crashed" / "log.db"


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def test_a_crashed_log_is_good(crashed: Path) -> None:
    verdict = verify(crashed)
    assert verdict.good
    assert verdict.records == 40


def test_a_bit_in_the_middle_is_damage_and_nothing_is_touched(crashed: Path) -> None:
    wal = crashed.with_name("log.db-wal")
    flip(wal, wal.stat().st_size // 2)
    before = (crashed.read_bytes(), wal.read_bytes())
    verdict = verify(crashed)
    assert not verdict.good
    assert "write-ahead log is damaged at byte" in verdict.errors[0]
    for _ in range(3):
        with pytest.raises(LogDamaged, match="a copy is in") as caught:
            LogFile(crashed)
    assert (crashed.read_bytes(), wal.read_bytes()) == before
    (copies,) = crashed.parent.glob("damaged-*")  # one, however often it is tried
    assert str(copies) in str(caught.value)
    assert (copies / "log.db-wal").read_bytes() == before[1]


def test_a_loss_can_be_accepted_and_ids_go_on_above_it(crashed: Path) -> None:
    whole = LogFile(crashed.parents[1] / "running" / "log.db")
    epoch = whole.meta("epoch")
    whole.close()
    wal = crashed.with_name("log.db-wal")
    damaged = wal.stat().st_size // 2
    flip(wal, damaged)
    started = now_ms()
    copies = accept_loss(crashed)
    assert (copies / "log.db-wal").stat().st_size > damaged
    verdict = verify(crashed)
    assert verdict.good
    assert 0 < verdict.records < 40
    file = LogFile(crashed)
    assert int(str(file.meta("base"))) >= id_at(started)
    assert file.meta("epoch") != epoch
    file.close()


def test_a_row_that_changed_is_named_and_can_be_removed(crashed: Path) -> None:
    bad_id = row(7)[0]
    db = sqlite3.connect(crashed)
    db.execute("UPDATE records SET data=zeroblob(length(data)) WHERE id=?", (bad_id,))
    db.commit()
    db.close()
    verdict = verify(crashed)
    assert [bad.id for bad in verdict.rows] == [bad_id]
    assert verdict.rows[0].reason == "checksum"
    file = LogFile(crashed)
    with pytest.raises(LogDamaged, match=f"{bad_id:016x} fails its checksum"):
        list(file.read(0))
    file.close()
    remove(crashed, verdict.rows)
    assert verify(crashed) == (39, (), (), ())


@pytest.mark.parametrize("values", ["data=CAST(data AS TEXT)", "data='x'", "data=7"])
def test_a_row_whose_data_is_said_to_be_no_bytes_goes_by_its_checksum(
    crashed: Path, values: str
) -> None:
    bad_id = row(7)[0]
    with sqlite3.connect(crashed) as db:
        db.execute(f"UPDATE records SET {values} WHERE id=?", (bad_id,))
    db.close()
    verdict = verify(crashed)
    assert [bad.id for bad in verdict.rows] == ([] if "CAST" in values else [bad_id])
    remove(crashed, verdict.rows)
    assert verify(crashed).rows == ()


class CutOff(Exception):
    """Stands for the end of the process."""


def cut_off(
    monkeypatch: pytest.MonkeyPatch, path: Path, change: Callable[[], object]
) -> Iterator[dict[str, object]]:
    """What the file says after ``change`` ended at its first write, its second, and so on;
    at last after all of it."""
    write = LogFile._write
    for allowed in range(1000):
        left = allowed

        def limited(self: LogFile, *args: Any, **options: Any) -> int:
            nonlocal left
            left -= 1
            if left < 0:
                raise CutOff
            return write(self, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(LogFile, "_write", limited)
            try:
                change()
            except CutOff:
                yield contents(path)
            else:
                break
    assert allowed > 3
    yield contents(path)


def contents(path: Path) -> dict[str, object]:
    with closing(sqlite3.connect(path)) as db:
        found: dict[str, object] = dict(db.execute("SELECT key, value FROM meta"))
        found["ids"] = [one for (one,) in db.execute("SELECT id FROM records ORDER BY id")]
    return found


def test_a_removal_that_is_cut_off_has_changed_nothing(
    crashed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LogFile(crashed)
    file.set_metas({"keys_epoch": "the present", "watermark": row(40)[0]})
    file.close()
    before = contents(crashed)
    bad = BadRow(row(7)[0], "checksum", b"")
    *unfinished, after = cut_off(monkeypatch, crashed, lambda: remove(crashed, (bad,)))
    assert all(one == before for one in unfinished)
    assert (after["keys_epoch"], after["base"]) == ("", bad.id)
    assert after["ids"] == [row(at)[0] for at in range(1, 41) if at != 7]


@pytest.mark.parametrize("known_by", ["head", "watermark", "settled", "elapsed", "caller"])
@pytest.mark.parametrize("how", ["restored", "loss accepted"])
def test_new_ids_start_above_all_that_may_have_been_given(
    crashed: Path, how: str, known_by: str
) -> None:
    """The clock was an hour ahead before."""
    given = id_at(now_ms() + 3_600_000)
    file = LogFile(crashed)
    if known_by == "head":
        file.insert([(given, *row(41)[1:])])
    elif known_by == "elapsed":
        heads = ElapsedHeads()
        heads.note(given)
        file.set_meta("elapsed", heads.save().decode())
    elif known_by != "caller":
        file.set_meta(known_by, given)
    file.close()
    if how == "restored":
        begin_restored_epoch(crashed, given if known_by == "caller" else 0)
    else:
        accept_loss(crashed)
    file = LogFile(crashed)
    if known_by == "caller" and how == "loss accepted":
        given = id_at(now_ms() - 60_000)
    assert int(str(file.meta("base"))) >= given + ID_MARGIN
    file.close()


def test_an_accepted_loss_that_is_cut_off_has_changed_nothing(
    crashed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LogFile(crashed).close()
    before = contents(crashed)
    unfinished: list[dict[str, object]] = []
    for after in cut_off(monkeypatch, crashed, lambda: accept_loss(crashed)):
        if after != before:
            break
        unfinished.append(after)
        assert unfinished_loss(crashed).exists(), "the damage can no longer be seen"
        assert "not finished" in verify(crashed).errors[0]
        with pytest.raises(LogDamaged, match="run `chatsvc log verify --accept-loss` again"):
            LogFile(crashed)
    assert len(unfinished) > 3
    assert not unfinished_loss(crashed).exists()
    assert after["epoch"] != before["epoch"]
    file = LogFile(crashed)
    positions = load(file)
    file.close()
    assert positions.hole == (row(40)[0], positions.base)
    first, second = positions.epochs
    assert (first.epoch, second.epoch) == (before["epoch"], after["epoch"])
    assert (second.generation, second.begun) == (first.generation + 1, row(40)[0])


def test_a_row_that_was_never_stored_is_lost_and_a_new_epoch_begins_below_it(
    crashed: Path,
) -> None:
    file = LogFile(crashed)
    file.set_meta("watermark", row(10)[0])
    before = load(file)
    file.close()
    remove(crashed, (BadRow(row(10)[0], "checksum", b""),))
    file = LogFile(crashed)
    assert (load(file).hole, load(file).epochs) == (None, before.epochs), "the store has it"
    file.close()
    remove(crashed, tuple(BadRow(row(at)[0], "checksum", b"") for at in (3, 20, 12)))
    file = LogFile(crashed)
    positions = load(file)
    assert positions.hole == (row(12)[0] - 1, row(20)[0])
    assert positions.epochs[:-1] == before.epochs
    assert positions.epochs[-1].begun == row(12)[0] - 1
    assert positions.base == row(20)[0]
    file.close()


def test_a_missing_end_is_a_fault(crashed: Path) -> None:
    file = LogFile(crashed)
    file.set_meta("watermark", row(50)[0])
    file.close()
    assert "above the head" in verify(crashed).errors[0]
    accept_loss(crashed)
    assert verify(crashed).good
