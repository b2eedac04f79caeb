"""Whether the store answers is known without a request, and known again when it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.storage.probe import StoreProbe
from testkit.memory_store import MemoryStore
from testkit.waiting import until


class Store(MemoryStore):
    """``fault`` is what each call raises; ``hanging``: calls do not return while it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Exception | None = None
        self.hanging = False
        self.opens = 0
        self.pings = 0
        self.at_once = 0
        self.most_at_once = 0

    async def open(self) -> None:
        self.opens += 1
        await self._call()

    async def ping(self) -> None:
        self.pings += 1
        await self._call()

    async def _call(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            while self.hanging:  # noqa: ASYNC110 - it is let go by the test
                await asyncio.sleep(0.001)
            if self.fault is not None:
                raise self.fault
        finally:
            self.at_once -= 1


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def probe(store: Store) -> AsyncIterator[StoreProbe]:
    probe = StoreProbe(store, interval=0.001, timeout=0.02)
    yield probe
    await probe.stop()
    await probe.stop()


async def test_a_store_counts_as_away_until_it_has_answered(
    store: Store, probe: StoreProbe
) -> None:
    store.fault = StoreUnavailable("no answer")
    assert not probe.up
    probe.start()
    await until(lambda: store.opens > 3)
    assert (probe.up, probe.error) == (False, "no answer")
    assert store.pings == 0, "what is not open is not asked"
    store.fault = None
    with capture_logs() as lines:
        await until(lambda: probe.up)
    assert [line["event"] for line in lines] == ["store_up"]
    opens = store.opens
    await until(lambda: store.pings > 3)
    assert store.opens == opens, "it is opened once"


async def test_one_that_goes_is_noticed_and_said_once_and_so_is_its_return(
    store: Store, probe: StoreProbe
) -> None:
    probe.answered()
    assert probe.up
    probe.start()
    await until(lambda: store.pings)
    with capture_logs() as lines:
        store.fault = StoreUnavailable("no answer")
        await until(lambda: not probe.up)
        opens = store.opens
        await until(lambda: store.opens > opens + 3)  # its file may have been replaced
        store.fault = None
        await until(lambda: probe.up)
    assert [line["event"] for line in lines] == ["store_down", "store_up"]
    assert probe.error is None


async def test_loss_is_told_before_it_is_opened_again_and_the_return_after(
    store: Store, probe: StoreProbe
) -> None:
    told: list[tuple[str, int]] = []
    probe.listen(
        lost=lambda: told.append(("lost", store.opens)),
        back=lambda: told.append(("back", store.opens)),
    )
    probe.answered()
    probe.start()
    await until(lambda: store.pings > 3)
    assert told == [], "it never was away"
    opens = store.opens
    store.fault = StoreUnavailable("its file was replaced")
    await until(lambda: not probe.up)
    assert told[0] == ("lost", opens)
    store.fault = None
    await until(lambda: probe.up)
    assert [name for name, _ in told] == ["lost"] * (len(told) - 1) + ["back"]
    assert told[-1][1] > opens
    store.hanging = True
    del told[:]
    await until(lambda: told)
    assert told[0][0] == "lost"
    store.hanging = False


async def test_a_call_that_does_not_return_counts_as_no_answer_and_none_is_put_beside_it(
    store: Store, probe: StoreProbe
) -> None:
    probe.start()
    await until(lambda: probe.up)
    store.hanging = True
    await until(lambda: not probe.up)
    assert probe.error == "it has not answered for 0.02 seconds"
    pings = store.pings
    await asyncio.sleep(0.1)  # several time-outs
    assert store.pings == pings
    store.hanging = False
    await until(lambda: probe.up)
    assert store.most_at_once == 1


@pytest.mark.parametrize("fault", [VersionTooNew("the store has version 9"), RuntimeError("odd")])
async def test_whatever_is_raised_it_goes_on_asking(
    store: Store, probe: StoreProbe, fault: Exception
) -> None:
    store.fault = fault
    probe.start()
    await until(lambda: store.opens > 3)
    assert probe.error in ("the store has version 9", "RuntimeError")
    store.fault = None
    await until(lambda: probe.up)


async def test_stopping_does_not_wait_for_a_store_that_hangs(store: Store) -> None:
    store.hanging = True
    probe = StoreProbe(store, timeout=60)
    probe.start()
    await until(lambda: store.at_once)
    async with asyncio.timeout(20):
        await probe.stop()
    assert store.at_once == 0
