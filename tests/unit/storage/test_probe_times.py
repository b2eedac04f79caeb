"""How often the store is asked, how long it is waited for, and what is said of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import ChatError, StoreUnavailable
from chatsvc.storage.probe import StoreProbe
from testkit.memory_store import MemoryStore
from tests.unit.support.virtual_time import in_virtual_time, passed


class Store(MemoryStore):
    """``pinged``: when. Each call takes ``takes`` seconds, and raises ``fault`` if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.pinged: list[float] = []
        self.takes = 0.0
        self.fault: Exception | None = None

    async def ping(self) -> None:
        self.pinged.append(passed())
        await asyncio.sleep(self.takes)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Clocks are the loop's."""
    monkeypatch.setattr("chatsvc.storage.probe.time", SimpleNamespace(monotonic=passed))
    return Store()


def names() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


@in_virtual_time
async def test_it_asks_a_second_after_each_answer(store: Store) -> None:
    probe = StoreProbe(store)
    assert (probe.up, probe.error) == (False, "it has not answered since the start")
    store.takes = 0.5
    probe.start()
    await asyncio.sleep(4)
    assert store.pinged == pytest.approx([0, 1.5, 3])
    assert store.opened == 1
    assert {"store probe"} <= names()
    await probe.stop()
    assert not {"store probe", "store probe call"} & names()


@in_virtual_time
async def test_after_three_seconds_without_an_answer_it_counts_as_away(store: Store) -> None:
    probe = StoreProbe(store)
    told: list[tuple[str, float]] = []
    probe.listen(
        lost=lambda: told.append(("lost", passed())), back=lambda: told.append(("back", passed()))
    )
    probe.answered()
    store.takes = 7.0
    probe.start()
    with capture_logs() as lines:
        await asyncio.sleep(2.9)
        assert probe.up
        assert "store probe call" in names()
        await asyncio.sleep(0.2)
        assert probe.error == "it has not answered for 3 seconds"
        await asyncio.sleep(4)
        assert probe.up
    assert told == [("lost", 3), ("lost", 6), ("back", 7)]
    assert lines == [
        {
            "event": "store_down",
            "log_level": "warning",
            "error": "it has not answered for 3 seconds",
        },
        {"event": "store_up", "log_level": "info", "seconds": 4.0},
    ]
    await probe.stop()


@in_virtual_time
async def test_how_long_it_was_away_is_said_from_the_start_on_and_to_a_tenth(store: Store) -> None:
    probe = StoreProbe(store)
    store.takes = 1.23
    with capture_logs() as lines:
        probe.start()
        await asyncio.sleep(2)
    assert [(line["event"], line["seconds"]) for line in lines] == [("store_up", 1.2)]
    await probe.stop()


@in_virtual_time
async def test_an_error_without_words_is_no_answer_and_a_fault_is_logged_once(
    store: Store,
) -> None:
    probe = StoreProbe(store)
    probe.answered()
    store.fault = ChatError()
    with capture_logs() as lines:
        probe.start()
        await asyncio.sleep(0.5)
        assert probe.error == "no answer"
        store.fault = StoreUnavailable("its file was removed")
        await asyncio.sleep(1)
        assert probe.error == "its file was removed"
        store.fault = None
        await asyncio.sleep(1)
        assert probe.up
        store.fault = ZeroDivisionError("a fault of the program")
        await asyncio.sleep(3)
        assert probe.error == "ZeroDivisionError"
    assert [line["event"] for line in lines] == [
        "store_down",
        "store_up",
        "store_probe_failed",
        "store_down",
    ]
    assert store.opened == 5, "after every failure it is opened again"
    await probe.stop()


async def test_stopping_one_that_was_never_started(store: Store) -> None:
    await StoreProbe(store).stop()
