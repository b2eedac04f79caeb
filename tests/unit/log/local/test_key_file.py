"""What the file keeps of client ids: what is read back, and when it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.ids import id_at
from chatsvc.log.idempotency import KeyWindow
from chatsvc.log.key_bounds import AHEAD_MS, KeyBounds
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.key_file import SavedKeys, open_keys
from chatsvc.log.reconcile import StoreState
from testkit.client_ids import uuid7_at

T0 = 1_700_000_000_000
SOON, LATE = 5.0, 60.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "log.db")
    yield made
    made.close()


def opened(file: LogFile, **options: Any) -> KeyWindow:
    values: dict[str, Any] = {
        "epoch": "e",
        "window_ms": 1000,
        "max_keys": 10,
        "max_keys_per_sender": 10,
        "stored": id_at(T0 + 5000),
        "store": StoreState("s", None, 0),
        "clock": lambda: T0,
    }
    return open_keys(file, **(values | options))


def saved_at(position: int) -> KeyWindow:
    bounds = KeyBounds(KeyBounds().save(position))
    return KeyWindow(max_keys=10, max_keys_per_sender=10, bounds=bounds)


def test_an_older_file_is_read_back_from_a_window_ago(file: LogFile) -> None:
    assert opened(file).position == 0, "it is empty: nothing was forgotten"
    file.insert([(7, 0, b"")])
    assert opened(file).position == id_at(T0 - 1000)
    assert opened(file, stored=7).position == 7
    assert opened(file, clock=lambda: 999).position == 0, "a clock that is wrong forgets nothing"


def test_a_file_that_says_from_where_is_read_back_from_there(file: LogFile) -> None:
    file.insert([(7, 0, b"")])
    keys = saved_at(5)
    SavedKeys(file, keys).prepare("e", 0.0)()
    again = opened(file)
    assert (again.position, again.bounds.known, again.bounds.unmet) == (5, True, False)


def test_another_epoch_or_store_has_a_past_up_to_what_the_store_knows_of(file: LogFile) -> None:
    SavedKeys(file, saved_at(5)).prepare("before", 0.0)()
    for extent, newest in ((id_at(T0 - 500), T0 - 500), (None, T0)):
        store = None if extent is None else StoreState("s", None, extent)
        bounds = opened(file, store=store).bounds
        assert bounds.unmet
        assert bounds.covers("alice", uuid7_at(newest + AHEAD_MS))
        bounds.learn_past(0, [])
        assert not bounds.covers("alice", uuid7_at(0))


def test_bounds_of_keys_are_those_that_were_asked_for(file: LogFile) -> None:
    keys = opened(file, max_keys=2, max_keys_per_sender=1)
    for record_id, sender in ((1, "alice"), (2, "alice"), (3, "bob"), (4, "carol")):
        keys.add((sender, "channel", str(record_id)), record_id, b"")
    keys.forget(0, 4)
    assert len(keys) == 2
    assert keys.get(("alice", "channel", "1")) is None


def test_the_position_on_disk_is_where_the_file_says(file: LogFile) -> None:
    assert SavedKeys(file, saved_at(70)).position == 70
    never = KeyWindow(max_keys=10, max_keys_per_sender=10)
    never.bounds.position = 70
    fresh = KeyWindow(max_keys=10, max_keys_per_sender=10, bounds=never.bounds)
    assert SavedKeys(file, fresh).position == 0, "nothing was saved yet"


def test_the_first_save_is_due_at_once(file: LogFile) -> None:
    assert SavedKeys(file, saved_at(0)).is_due(0.0, trim_to=0)


@pytest.mark.parametrize(
    ("forgotten_to", "trim_to", "after"),
    [
        (10, 10, LATE),  # nothing more was forgotten, and nothing waits
        (10, 99, LATE),  # saving again would not help trimming
        (20, 10, LATE),  # nothing waits for it
        (20, 11, SOON),
    ],
)
def test_it_is_saved_once_a_minute_and_sooner_where_trimming_waits(
    file: LogFile, forgotten_to: int, trim_to: int, after: float
) -> None:
    keys = saved_at(10)
    saved = SavedKeys(file, keys)
    saved.prepare("e", 100.0)()
    keys.forget(forgotten_to, forgotten_to)
    assert keys.position == forgotten_to
    assert not saved.is_due(100.0 + after - 0.5, trim_to)
    assert saved.is_due(100.0 + after, trim_to)


def test_what_is_saved_is_the_state_as_it_was_prepared(file: LogFile) -> None:
    keys = saved_at(10)
    saved = SavedKeys(file, keys)
    keys.forget(20, 20)
    save = saved.prepare("e", 0.0)
    keys.forget(30, 30)
    assert saved.position == 10, "not before it is durable"
    save()
    assert saved.position == 20
    assert KeyBounds(str(file.meta("keys"))).position == 20
    assert file.meta("keys_epoch") == "e"
