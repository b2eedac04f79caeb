"""What is written to the log's file, and what is taken out of it."""

from __future__ import annotations

import sqlite3

import pytest

from chatsvc.core.errors import LogUnavailable
from chatsvc.log.local.file import LogFile
from testkit.drafts import record
from tests.unit.support.log_rows import row


def ids(file: LogFile) -> list[int]:
    return [one.id for one in file.read(0)]


def test_trimming_takes_the_oldest_up_to_a_position_and_says_how_far_it_went(
    file: LogFile,
) -> None:
    assert file.trim(9, 10) == 0
    assert file.meta("trimmed") == 0
    assert file.trim(40, 2) == 2
    assert (ids(file), file.meta("trimmed")) == ([30, 40, 50], 20)
    assert file.trim(40, 10) == 2
    assert (ids(file), file.meta("trimmed")) == ([50], 40)
    assert file.trim(90, 10) == 0, "the newest stays"
    file.set_meta("trimmed", 70)
    file.insert([row(record(60))])
    assert file.trim(50, 10) == 1
    assert file.meta("trimmed") == 70, "it never goes back"


def test_rows_that_are_taken_out_raise_the_base(file: LogFile) -> None:
    file.remove([20, 40], {"a": 1})
    assert (ids(file), file.meta("base"), file.meta("a")) == ([10, 30, 50], 40, 1)
    file.remove([10])
    assert (ids(file), file.meta("base")) == ([30, 50], 40)
    file.remove([])
    assert (ids(file), file.meta("base")) == ([30, 50], 40)


def test_where_nothing_is_taken_out_the_base_stays_at_the_beginning(empty: LogFile) -> None:
    empty.remove([])
    assert empty.meta("base") == 0


def test_rows_are_put_in_the_place_of_others_with_what_follows_or_not_at_all(
    file: LogFile,
) -> None:
    file.replace([20, 30], [record(60), record(70)], {"a": 1})
    assert (ids(file), file.meta("a")) == ([10, 40, 50, 60, 70], 1)
    with pytest.raises(LogUnavailable, match=r"cannot write \(SQLITE_CONSTRAINT_PRIMARYKEY\)"):
        file.replace([10], [record(50)], {"a": 2})
    assert (ids(file), file.meta("a")) == ([10, 40, 50, 60, 70], 1)


def test_rows_of_every_number_are_inserted_by_one_statement_each(file: LogFile) -> None:
    for count, first in ((1, 100), (3, 200), (1, 300), (3, 400)):
        file.insert([row(record(first + at)) for at in range(count)])
    assert ids(file)[5:] == [100, 200, 201, 202, 300, 400, 401, 402]


def test_closing_folds_the_write_ahead_log_into_the_file(file: LogFile) -> None:
    assert file.wal_size() > 0
    file.close()
    assert file.wal_size() == 0
    with sqlite3.connect(f"{file.path.as_uri()}?mode=ro&immutable=1", uri=True) as db:
        assert db.execute("SELECT count(*) FROM records").fetchone()[0] == 5
    db.close()
