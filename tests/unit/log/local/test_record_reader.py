"""Reading the log's file: what is asked of it, and what each answer is exactly."""

from __future__ import annotations

import pytest

from chatsvc.core.errors import LogDamaged
from chatsvc.core.record import checksum, pack
from chatsvc.log.local.file import LogFile
from testkit.drafts import record


def size_of(at: int) -> int:
    return len(pack(record(at, "x" * at)))


def test_which_records_there_are(file: LogFile) -> None:
    assert (file.lowest(), file.head(), file.count()) == (10, 50, 5)
    assert file.count_between(20, 40) == 2
    assert file.count_between(0, 50) == 5
    assert file.count_between(40, 20) == 0


def test_a_position_with_so_many_records_up_to_another(file: LogFile) -> None:
    assert file.below(40, 0) == 40
    assert file.below(45, 2) == 20
    assert file.below(40, 3) == 10
    assert file.below(40, 4) == 0


def test_a_position_with_so_many_bytes_up_to_another(file: LogFile) -> None:
    two = size_of(40) + size_of(30) + 2 * 7
    assert file.below_bytes(40, two, 7) == 19
    assert file.below_bytes(40, two - 1, 7) == 29
    assert file.below_bytes(40, 0, 7) == 39
    assert file.below_bytes(40, 100_000, 7) == 0


def test_a_record_by_its_id(file: LogFile) -> None:
    assert file.get(20) == record(20, "x" * 20)
    assert file.get(21) is None


def test_records_are_read_above_a_position(file: LogFile) -> None:
    assert [one.id for one in file.read(20)] == [30, 40, 50]
    assert list(file.read(50)) == []


def test_a_batch_ends_at_each_of_its_bounds(file: LogFile) -> None:
    def batch(after: int, up_to: int, limit: int, max_bytes: int) -> list[int]:
        return [one.id for one in file.batch(after, up_to, limit, max_bytes)]

    assert batch(10, 40, 10, 1 << 20) == [20, 30, 40]
    assert batch(10, 39, 10, 1 << 20) == [20, 30]
    assert batch(10, 40, 2, 1 << 20) == [20, 30]
    assert batch(10, 40, 1, 1 << 20) == [20]
    two = sum(len(record(at, "x" * at).body) for at in (20, 30))
    assert batch(10, 40, 10, two) == [20, 30]
    assert batch(10, 40, 10, two - 1) == [20]
    assert batch(10, 40, 10, 1) == [20], "the first, whatever its size"
    assert batch(50, 90, 10, 1 << 20) == []


def spoil(file: LogFile, at: int, data: bytes, *, crc: int | None = None) -> None:
    found = checksum(at, data) if crc is None else crc
    file._db.execute("UPDATE records SET data=?, crc=? WHERE id=?", (data, found, at))


def test_each_row_that_is_not_what_was_written_is_told_with_its_bytes(file: LogFile) -> None:
    assert list(file.bad_rows()) == []
    spoil(file, 20, b"changed", crc=1)
    spoil(file, 40, b"no record")
    first, second = file.bad_rows()
    assert first == ((20, 1, b"changed"), "checksum")
    assert second[0] == (40, checksum(40, b"no record"), b"no record")
    assert "record 0000000000000028 cannot be read" in second[1]


def test_reading_stops_at_a_row_that_is_not_what_was_written(file: LogFile) -> None:
    spoil(file, 30, b"changed", crc=1)
    read = file.read(0)
    assert [next(read).id, next(read).id] == [10, 20]
    with pytest.raises(LogDamaged, match=r"000000000000001e fails its checksum; run `chatsvc log"):
        next(read)
    with pytest.raises(LogDamaged, match="fails its checksum"):
        file.batch(0, 50, 10, 1 << 20)
    assert [one.id for one in file.batch(0, 50, 2, 1 << 20)] == [10, 20]


def test_a_file_that_sqlite_cannot_read_is_damage(file: LogFile) -> None:
    file._db.execute("ALTER TABLE records RENAME COLUMN crc TO sum")
    with pytest.raises(LogDamaged, match=r"cannot be read: no such column: crc; run `chatsvc log"):
        next(file.read(0))


def wrong_pages(file: LogFile) -> LogFile:
    """The file, closed and opened again, with a page that lists a row twice."""
    path = file.path
    file.close()
    data = bytearray(path.read_bytes())
    leaf = next(at for at in range(4096, len(data), 4096) if data[at] == 0x0D and data[at + 4] == 5)
    data[leaf + 8 : leaf + 10] = data[leaf + 10 : leaf + 12]
    path.write_bytes(data)
    return LogFile(path)


def test_pages_are_looked_over_up_to_a_size(file: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.check_pages()
    assert file.integrity() == []
    damaged = wrong_pages(file)
    pages = int(damaged._db.execute("PRAGMA page_count").fetchone()[0])
    monkeypatch.setattr("chatsvc.log.local.record_reader.CHECKED_BYTES", pages * 4096)
    with pytest.raises(LogDamaged, match=r"(?s)a page is damaged: .*; run `chatsvc log verify`"):
        damaged.check_pages()
    assert damaged.integrity()
    monkeypatch.setattr("chatsvc.log.local.record_reader.CHECKED_BYTES", pages * 4096 - 1)
    damaged.check_pages()
    damaged.abandon()
