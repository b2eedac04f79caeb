"""The walk over write-ahead logs that SQLite itself made, whole, torn and flipped."""

from __future__ import annotations

import io
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatsvc.log.local.wal import WalReport, _checksum, _inspect, inspect_wal

HEADER, FRAME_HEAD = 32, 24


class Database:
    """A database in WAL mode whose WAL is copied while it is open, as a crash leaves it."""

    def __init__(self, folder: Path, page: int) -> None:
        self.folder = folder
        self.frame = FRAME_HEAD + page
        self.db = sqlite3.connect(folder / "live.db", isolation_level=None)
        self.db.execute(f"PRAGMA page_size={page}")
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA wal_autocheckpoint=0")
        self.db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def commit(self, rows: int = 1, size: int = 100) -> None:
        values = ",".join(["(NULL, zeroblob(?))"] * rows)
        self.db.execute(f"INSERT INTO t (id, data) VALUES {values}", [size] * rows)

    def commit_over_old_frames(self, commits: int) -> None:
        """Commit where the WAL begins anew: the frames of before a checkpoint are behind."""
        for _ in range(20):
            self.commit()
        self.db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        for _ in range(commits):
            self.commit()

    def crash(self) -> Path:
        for end in ("", "-wal"):
            shutil.copy2(self.folder / f"live.db{end}", self.folder / f"crashed.db{end}")
        return self.folder / "crashed.db-wal"

    def survivors(self) -> int:
        """How many rows SQLite finds after the crash."""
        with sqlite3.connect(self.folder / "crashed.db") as db:
            count = int(db.execute("SELECT count(*) FROM t").fetchone()[0])
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        return count


@pytest.fixture(params=[512, 4096], ids=["pages of 512", "pages of 4096"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path, request.param)
    yield made
    made.db.close()


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def ends_of_commits(wal: Path, frame: int) -> list[int]:
    """Where each commit's last frame ends, by the mark in its head."""
    data = wal.read_bytes()
    return [
        at + frame
        for at in range(HEADER, len(data), frame)
        if int.from_bytes(data[at + 4 : at + 8], "big")
    ]


def test_no_file_and_an_empty_one_are_good(tmp_path: Path) -> None:
    assert inspect_wal(tmp_path / "none-wal") == WalReport(0, None, 0)
    (tmp_path / "empty-wal").touch()
    assert inspect_wal(tmp_path / "empty-wal") == WalReport(0, None, 0)


def test_a_clean_one_counts_its_commits(database: Database) -> None:
    for _ in range(10):
        database.commit()
    wal = database.crash()
    assert inspect_wal(wal) == WalReport(10, None, 0)
    assert database.survivors() == 10


def test_commits_of_many_frames_count_once(database: Database) -> None:
    database.commit(rows=20, size=1000)
    database.commit(rows=1)
    assert inspect_wal(database.crash()) == WalReport(2, None, 0)


def test_torn_at_any_byte_of_the_last_commit_is_torn_and_loses_that_commit(
    database: Database,
) -> None:
    for _ in range(4):
        database.commit()
    database.commit(rows=3, size=1500)
    wal = database.crash()
    whole = wal.read_bytes()
    start, end = ends_of_commits(wal, database.frame)[-2:]
    assert end == len(whole)
    for cut in range(start + 1, end):
        if cut % 61 and (cut - start) % database.frame > FRAME_HEAD + 2:
            continue  # every byte of the heads, and a few of the pages'
        wal.write_bytes(whole[:cut])
        report = inspect_wal(wal)
        assert (report.commits, report.commits_lost) == (4, 0)
        torn_frame = (cut - HEADER) // database.frame * database.frame + HEADER
        # Cut between two frames there is nothing bad to see: the commit has no end.
        assert report.bad_offset == (None if cut == torn_frame else torn_frame)
    wal.write_bytes(whole[:start])
    assert inspect_wal(wal) == WalReport(4, None, 0)


def test_a_last_commit_of_zeros_or_rubbish_is_torn(database: Database) -> None:
    for _ in range(4):
        database.commit()
    wal = database.crash()
    whole = wal.read_bytes()
    start, end = ends_of_commits(wal, database.frame)[-2:]
    for rubbish in (bytes(end - start), b"\xa5" * (end - start)):
        wal.write_bytes(whole[:start] + rubbish)
        report = inspect_wal(wal)
        assert (report.commits, report.damaged) == (3, False)
    payload_gone = bytearray(whole)
    payload_gone[end - 100 :] = bytes(100)
    wal.write_bytes(payload_gone)
    flip(wal, end - 1)
    report = inspect_wal(wal)
    assert (report.commits, report.bad_offset, report.commits_lost) == (3, start, 1)
    assert not report.damaged
    assert database.survivors() == 3, "SQLite agrees on what is left"


@pytest.mark.parametrize("where", ["page number", "mark", "salt", "checksum", "page"])
@pytest.mark.parametrize("commit", [0, 3, 6])
def test_a_bit_in_the_middle_is_damage(database: Database, where: str, commit: int) -> None:
    for _ in range(10):
        database.commit()
    wal = database.crash()
    ends = [HEADER, *ends_of_commits(wal, database.frame)]
    offset = {"page number": 3, "mark": 7, "salt": 9, "checksum": 20, "page": FRAME_HEAD + 50}
    flip(wal, ends[commit] + offset[where], bit=3)
    report = inspect_wal(wal)
    assert report.bad_offset == ends[commit]
    assert report.commits == commit
    assert report.damaged
    assert database.survivors() == commit, "SQLite drops what follows, and says ok"


def test_every_bit_of_the_header_counts(database: Database) -> None:
    for _ in range(5):
        database.commit()
    wal = database.crash()
    whole = wal.read_bytes()
    for offset in range(HEADER):
        for bit in range(8):
            wal.write_bytes(whole)
            flip(wal, offset, bit)
            report = inspect_wal(wal)
            assert report.bad_offset == 0
            assert report.damaged, f"bit {bit} of byte {offset}"


def test_a_header_cut_short_is_torn(database: Database) -> None:
    database.commit()
    wal = database.crash()
    wal.write_bytes(wal.read_bytes()[:20])
    assert inspect_wal(wal) == WalReport(0, 0, 0)


def header(page: int) -> bytes:
    start = struct.pack(">6I", 0x377F0682, 3007000, page, 0, 1, 2)
    return start + struct.pack(">2I", *_checksum(start, 0, 0, little=True))


@pytest.mark.parametrize("page", [512, 1024, 4096, 65536])
def test_a_page_is_a_power_of_two(tmp_path: Path, page: int) -> None:
    (tmp_path / "x-wal").write_bytes(header(page))
    assert inspect_wal(tmp_path / "x-wal") == WalReport(0, None, 0)


@pytest.mark.parametrize("page", [0, 1, 256, 511, 1000, 65537, 131072])
def test_a_header_with_another_size_of_page_is_bad_whatever_its_checksum(
    tmp_path: Path, page: int
) -> None:
    (tmp_path / "x-wal").write_bytes(header(page))
    assert inspect_wal(tmp_path / "x-wal") == WalReport(0, 0, 0)


def test_a_torn_commit_with_one_behind_is_told_though_it_has_lost_its_salt(
    database: Database,
) -> None:
    for _ in range(4):
        database.commit()
    wal = database.crash()
    torn = ends_of_commits(wal, database.frame)[1]
    flip(wal, torn + 9)
    assert inspect_wal(wal) == WalReport(2, torn, 1)


@pytest.mark.parametrize(("kept", "lost"), [(23, 1), (24, 2)])
def test_a_commit_behind_the_bad_one_counts_once_its_head_is_whole(
    database: Database, kept: int, lost: int
) -> None:
    for _ in range(3):
        database.commit()
    wal = database.crash()
    bad, last = ends_of_commits(wal, database.frame)[:2]
    flip(wal, bad + FRAME_HEAD + 50)
    wal.write_bytes(wal.read_bytes()[: last + kept])
    assert inspect_wal(wal) == WalReport(1, bad, lost)


def test_frames_left_over_from_before_a_checkpoint_are_nobodys_loss(database: Database) -> None:
    database.commit_over_old_frames(3)
    wal = database.crash()
    assert wal.stat().st_size > HEADER + 10 * database.frame, "the old frames are behind"
    assert inspect_wal(wal) == WalReport(3, None, 0)
    assert database.survivors() == 23


def test_a_bit_in_the_middle_is_damage_before_left_over_frames_too(database: Database) -> None:
    database.commit_over_old_frames(4)
    wal = database.crash()
    ends = ends_of_commits(wal, database.frame)
    flip(wal, ends[1] + FRAME_HEAD + 5)
    report = inspect_wal(wal)
    assert (report.commits, report.bad_offset, report.commits_lost) == (2, ends[1], 2)


def test_torn_before_left_over_frames_is_torn(database: Database) -> None:
    database.commit_over_old_frames(4)
    wal = database.crash()
    ends = ends_of_commits(wal, database.frame)
    flip(wal, ends[2] + FRAME_HEAD + 5)
    report = inspect_wal(wal)
    assert (report.commits, report.bad_offset, report.damaged) == (3, ends[2], False)


def test_an_unfinished_transaction_at_the_end_is_no_commit(database: Database) -> None:
    database.commit()
    database.db.execute("PRAGMA cache_size=2")
    database.db.execute("BEGIN")
    for _ in range(50):
        database.commit(rows=5, size=2000)  # more than the cache holds: spilt into the WAL
    wal = database.crash()
    database.db.execute("ROLLBACK")
    assert wal.stat().st_size > HEADER + 10 * database.frame
    assert inspect_wal(wal) == WalReport(1, None, 0)
    bad = HEADER + 5 * database.frame
    flip(wal, bad + FRAME_HEAD + 5)
    assert inspect_wal(wal) == WalReport(1, bad, 0), "a frame of this log, and no left-over"


class Watched(io.BytesIO):
    """Notes how much is read at a time."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.most = max(self.most, len(found))
        return found


@pytest.mark.parametrize("damage", [None, 0, 40, 20_000], ids=str)
def test_no_more_than_a_frame_is_in_memory(database: Database, damage: int | None) -> None:
    for _ in range(50):
        database.commit(size=3000)
    path = database.crash()
    if damage is not None:
        flip(path, damage)
    file = Watched(path.read_bytes())
    assert _inspect(file, path.stat().st_size) == inspect_wal(path)
    assert file.most <= database.frame


def test_a_file_that_is_cut_while_it_is_read_ends_there(database: Database) -> None:
    for _ in range(3):
        database.commit()
    data = database.crash().read_bytes()
    assert _inspect(Watched(data[: -database.frame]), len(data)).commits == 2
    assert _inspect(Watched(b""), 100) == WalReport(0, None, 0)
