"""Reads take turns, and give them back only when the driver is done."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, InvalidOperation

from chatsvc.core.errors import ConfigurationError, StoreUnavailable
from chatsvc.storage.mongo import connection as mongo_connection
from chatsvc.storage.mongo.connection import MongoConnection

AT_ONCE = 3


class Calls:
    """Driver calls that end when the test says so."""

    def __init__(self) -> None:
        self.open: list[asyncio.Future[str]] = []

    def __call__(self) -> asyncio.Future[str]:
        self.open.append(asyncio.get_running_loop().create_future())
        return self.open[-1]


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[MongoConnection]:
    monkeypatch.setattr(mongo_connection, "_READS_AT_ONCE", AT_ONCE)
    connection = MongoConnection(
        "mongodb://localhost:1",
        "chat",
        "messages",
        read_seconds=1,
        write_seconds=1,
        selection_seconds=1,
    )
    yield connection
    connection.close()


async def turns() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_only_so_many_go_on_at_once(connection: MongoConnection) -> None:
    calls = Calls()
    reads = [asyncio.ensure_future(connection.read(calls)) for _ in range(5)]
    await turns()
    assert len(calls.open) == AT_ONCE
    calls.open[0].set_result("first")
    await turns()
    assert len(calls.open) == AT_ONCE + 1
    for call in calls.open[1:]:
        call.set_result("next")
    await turns()
    calls.open[-1].set_result("last")
    assert sorted(await asyncio.gather(*reads)) == ["first", "last", "next", "next", "next"]


async def test_those_who_wait_are_told_with_the_first_that_fails(
    connection: MongoConnection,
) -> None:
    calls = Calls()
    reads = [asyncio.ensure_future(connection.read(calls)) for _ in range(20)]
    await turns()
    calls.open[0].set_exception(AutoReconnect("gone"))
    calls.open[1].set_result("came through")
    calls.open[2].set_result("came through")
    outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert len(calls.open) == AT_ONCE
    assert outcomes.count("came through") == 2
    assert sum(isinstance(outcome, StoreUnavailable) for outcome in outcomes) == 18
    # Whoever comes later tries again.
    later = asyncio.ensure_future(connection.read(calls))
    await turns()
    calls.open[-1].set_result("back")
    assert await later == "back"


async def test_a_cancelled_read_keeps_its_turn_until_the_driver_is_done(
    connection: MongoConnection,
) -> None:
    calls = Calls()
    reads = [asyncio.ensure_future(connection.read(calls)) for _ in range(AT_ONCE)]
    waiting = asyncio.ensure_future(connection.read(calls))
    await turns()
    for read in reads:
        read.cancel()
    await turns()
    assert len(calls.open) == AT_ONCE
    assert not any(call.done() for call in calls.open)
    calls.open[0].set_result("nobody listens")
    await turns()
    assert len(calls.open) == AT_ONCE + 1
    calls.open[-1].set_result("mine")
    assert await waiting == "mine"


async def test_one_who_stops_waiting_takes_no_turn(connection: MongoConnection) -> None:
    calls = Calls()
    reads = [asyncio.ensure_future(connection.read(calls)) for _ in range(AT_ONCE + 1)]
    await turns()
    reads[-1].cancel()
    for call in calls.open:
        call.set_result("done")
    await asyncio.gather(*reads[:-1])
    fresh = [asyncio.ensure_future(connection.read(calls)) for _ in range(AT_ONCE)]
    await turns()
    assert len(calls.open) == 2 * AT_ONCE
    for call in calls.open[AT_ONCE:]:
        call.set_result("done")
    await asyncio.gather(*fresh)


def test_a_file_of_certificates_that_is_missing_names_the_setting() -> None:
    uri = "mongodb://user:secret@127.0.0.1:1/?tls=true&tlsCAFile=/nosuch/ca.pem"
    with pytest.raises(
        ConfigurationError, match=r"MONGO_URI: cannot be used: .*No such file"
    ) as error:
        MongoConnection(
            uri, "chat", "messages", read_seconds=1, write_seconds=1, selection_seconds=1
        )
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("how", ["read", "write", "attempt"])
async def test_an_error_that_nobody_waits_for_any_more_is_not_reported(
    connection: MongoConnection, how: str
) -> None:
    """A stop cancels the caller and closes the client; then the driver's call fails."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: reported.append(what))
    calls = Calls()
    caller = asyncio.ensure_future(getattr(connection, how)(calls))
    await turns()
    caller.cancel()
    await turns()
    assert caller.cancelled()
    calls.open.pop().set_exception(InvalidOperation("Cannot use MongoClient after close"))
    await turns()
    gc.collect()
    assert reported == []
