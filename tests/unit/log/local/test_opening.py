"""What a log takes from its file at the start: positions, recent records, keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chatsvc.core.ids import MAX_ID, id_at, now_ms
from chatsvc.core.record import Record
from chatsvc.log.idempotency import KeyWindow
from chatsvc.log.key_bounds import KeyBounds
from chatsvc.log.local import opening
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.opening import positions_at_start, read_back
from chatsvc.log.reconcile import StoreState
from chatsvc.log.tail import Tail
from testkit.boot import Boot
from testkit.drafts import record
from tests.unit.support.log_rows import row


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "log.db")
    yield made
    made.close()


def insert(file: LogFile, records: Sequence[Record]) -> None:
    file.insert([row(one) for one in records])


def window(position: int = 0, max_keys: int = 1000) -> KeyWindow:
    bounds = KeyBounds(KeyBounds().save(position))
    return KeyWindow(max_keys=max_keys, max_keys_per_sender=1_000_000, bounds=bounds)


# --- positions


def test_with_the_store_away_a_new_log_begins_now(file: LogFile) -> None:
    before = id_at(now_ms())
    positions, found, begin, refill = positions_at_start(file, None)
    assert before <= positions.start <= id_at(now_ms())
    assert positions.stored == positions.settled == positions.trimmed == positions.start
    assert positions.epochs[-1].begun == positions.unconfirmed == positions.start
    assert (found, begin, refill) == (None, positions.start, 0)
    again = positions_at_start(file, None)
    assert again.positions == positions, "all of it is kept"


def test_beside_a_store_a_new_log_begins_above_all_that_is_in_it(file: LogFile) -> None:
    positions, found, begin, refill = positions_at_start(file, StoreState("s", None, 700))
    assert positions.start == positions.stored == positions.settled == positions.trimmed == 700
    assert (positions.base, positions.epochs[-1].begun, positions.unconfirmed) == (700, 700, None)
    assert found is not None
    assert not found.ahead
    assert (begin, refill) == (700, 0)
    assert file.meta("trimmed") == 700


def test_with_the_store_away_what_it_lacks_is_counted_and_goes_on_from_where_it_was(
    file: LogFile,
) -> None:
    insert(file, [record(at) for at in (10, 20, 30, 40, 50, 60)])
    file.set_metas({"store": "s", "watermark": 20, "settled": 50})
    file._db.execute("DELETE FROM meta WHERE key='trimmed'")  # as an earlier program left it
    positions, found, begin, refill = positions_at_start(file, None)
    assert (positions.stored, positions.settled, positions.trimmed) == (20, 50, 9)
    assert (found, begin, refill) == (None, 20, 3)
    assert positions.unconfirmed == 60
    assert file.meta("trimmed") == 9
    insert(file, [record(70)])
    assert positions_at_start(file, None).positions.unconfirmed == 60, "it stays the lowest"


# --- records and keys


def test_recent_records_are_those_above_the_floor_and_keys_those_above_the_position(
    file: LogFile,
) -> None:
    insert(file, [record(at, client_id=f"k{at}") for at in (10, 20, 30, 40, 50)])
    for position, floor in ((20, 30), (30, 20), (0, 0)):
        tail, keys = Tail(recent_bytes=1 << 20, watermark=50, floor=floor), window(position)
        read_back(file, tail, keys)
        assert [one.id for one in tail.batch(0, 10, 1 << 20)] == [
            at for at in (10, 20, 30, 40, 50) if at > floor
        ]
        known = [keys.get(("alice", "alice,bob", f"k{at}")) for at in (10, 20, 30, 40, 50)]
        assert [one.id for one in known if one] == [
            at for at in (10, 20, 30, 40, 50) if at > position
        ]


class Counting(KeyWindow):
    """Notes each call of :meth:`forget`: its arguments, and how many keys there were."""

    calls: list[tuple[int, int, int]]

    def forget(self, up_to: int, stored: int) -> None:
        self.calls.append((up_to, stored, len(self)))
        super().forget(up_to, stored)


def test_a_long_log_is_read_a_thousand_records_at_a_time(file: LogFile) -> None:
    """And no more keys than the bound and a thousand are in memory at once."""
    insert(file, [record(at, client_id=f"k{at}") for at in range(1, 2501)])
    tail = Tail(recent_bytes=0)
    batches: list[int] = []
    tail.listen(lambda records: batches.append(len(records)))
    keys = Counting(max_keys=10, max_keys_per_sender=1_000_000)
    keys.calls = []
    read_back(file, tail, keys)
    assert batches == [1000, 1000, 500]
    assert keys.calls == [(0, MAX_ID, count) for count in (1, 1001, 1010, 509)]
    assert len(keys) == 10


def test_a_log_that_took_nothing_with_the_store_away_begins_no_epoch_beside_it(
    file: LogFile,
) -> None:
    before = positions_at_start(file, None).positions
    far = before.start + 1000
    positions, found, _, _ = positions_at_start(file, StoreState("s", None, far))
    assert found is not None
    assert not found.ahead
    assert positions.epoch == before.epoch
    assert (positions.base, positions.stored) == (far, before.start)


def test_beside_a_store_that_knows_more_a_new_epoch_may_differ_from_all_that_is_in_it(
    file: LogFile,
) -> None:
    insert(file, [record(10), record(20)])
    file.set_metas({"store": "s", "watermark": 20, "settled": 20})
    positions, found, begin, refill = positions_at_start(file, StoreState("s", None, 30))
    assert found is not None
    assert found.ahead
    assert (positions.epochs[-1].begun, positions.base) == (30, 30)
    assert (begin, refill) == (positions.stored, 2)


def test_a_steady_clock_goes_on_by_the_time_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = Boot()
    monkeypatch.setattr(opening, "now_ms", lambda: 5_000)
    clock = opening._steady_clock(boot)
    monkeypatch.setattr(opening, "now_ms", lambda: 99_000)
    assert clock() == 5_000
    boot.seconds += 3.5
    assert clock() == 8_500
