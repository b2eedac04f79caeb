"""Reads fail at once for a while after the store did not answer."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.storage.history.breaker import Breaker


async def test_after_a_failure_reads_fail_at_once_for_a_while() -> None:
    now = 0.0
    breaker = Breaker(1.0, clock=lambda: now)
    calls = 0
    away = True

    async def call() -> int:
        nonlocal calls
        calls += 1
        if away:
            raise StoreUnavailable("away")
        return calls

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await breaker.run(call)
    assert calls == 1
    now = 1.0
    with pytest.raises(StoreUnavailable):
        await breaker.run(call)
    assert calls == 2
    now, away = 1.5, False
    with pytest.raises(StoreUnavailable, match="does not answer") as refused:
        await breaker.run(call)
    assert refused.value.retry_after == pytest.approx(0.5)
    now = 2.0
    assert await breaker.run(call) == 3
    assert await breaker.run(call) == 4


async def test_while_one_read_tries_the_others_need_not() -> None:
    now = 0.0
    breaker = Breaker(1.0, clock=lambda: now)
    gate = asyncio.Event()

    async def fail() -> None:
        raise StoreUnavailable("away")

    async def slow() -> str:
        await gate.wait()
        return "back"

    with pytest.raises(StoreUnavailable):
        await breaker.run(fail)
    now = 1.0
    trial = asyncio.ensure_future(breaker.run(slow))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await breaker.run(slow)
    gate.set()
    assert await trial == "back"
    assert await breaker.run(slow) == "back"
