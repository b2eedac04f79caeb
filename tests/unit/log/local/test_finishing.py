"""Work that ends before a cancellation of its caller goes on."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.log.local.finishing import to_the_end


async def test_its_result_or_error_is_the_callers() -> None:
    assert await to_the_end(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(TimeoutError):
        await to_the_end(asyncio.wait_for(asyncio.Event().wait(), 0))


@pytest.mark.parametrize("error", [None, ZeroDivisionError()])
async def test_it_ends_however_often_its_caller_is_cancelled(error: Exception | None) -> None:
    go_on = asyncio.Event()
    ended: list[bool] = []

    async def work() -> None:
        await go_on.wait()
        ended.append(True)
        if error is not None:
            raise error

    caller = asyncio.ensure_future(to_the_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await caller
    assert ended == [True]
    assert caught.value.__cause__ is error


async def test_work_that_is_cancelled_itself_is_over() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await to_the_end(work())
