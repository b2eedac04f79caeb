"""Damage is found, put aside or accepted; never passed over."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from chatsvc.core.errors import LogDamaged
from chatsvc.core.ids import id_at, now_ms
from chatsvc.core.message import draft_message
from chatsvc.core.record import accept, checksum, pack
from chatsvc.log.file import LogFile, Row
from chatsvc.log.verify import accept_loss, remove, verify


def row(number: int) -> Row:
    draft = draft_message(
        channel="alice,bob",
        participants=("alice", "bob"),
        sender="alice",
        content=f"message {number} " + "x" * 500,
        origin="",
    )
    record = accept(draft, id_at(1_700_000_000_000) + (number << 6))
    data = pack(record)
    return record.id, checksum(record.id, data), data


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
    assert "write-ahead log is damaged at byte" in verdict.faults[0]
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
    assert verify(crashed) == (39, (), ())


def test_a_missing_end_is_a_fault(crashed: Path) -> None:
    file = LogFile(crashed)
    file.set_meta("watermark", row(50)[0])
    file.close()
    assert "above the head" in verify(crashed).faults[0]
    accept_loss(crashed)
    assert verify(crashed).good
