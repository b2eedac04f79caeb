"""Turns come in the order of asking, and are given up at any moment."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.errors import Busy
from chatsvc.log.turns import MAX_WAITING, Turns
from tests.unit.support.commit_disk import turn as loop_turn


async def hold(turns: Turns, order: list[str], name: str, until: asyncio.Event) -> bool:
    async with turns.enter("r") as waited:
        order.append(name)
        await until.wait()
    return waited


async def test_the_first_does_not_wait_and_the_others_come_in_their_order() -> None:
    turns, order, until = Turns(), list[str](), asyncio.Event()
    tasks = [
        asyncio.ensure_future(hold(turns, order, name, until)) for name in "abc"
    ]  # fmt: skip
    await loop_turn()
    assert (order, turns.waiting, len(turns)) == (["a"], 2, 1)
    until.set()
    assert await asyncio.gather(*tasks) == [False, True, True]
    assert (order, turns.waiting, len(turns)) == (["a", "b", "c"], 0, 0)


async def test_another_key_has_a_queue_of_its_own() -> None:
    turns = Turns(max_waiting=0)
    async with turns.enter("r") as one, turns.enter("q") as other:
        assert (one, other, len(turns)) == (False, False, 2)


async def test_who_would_wait_behind_too_many_is_refused() -> None:
    turns = Turns(max_waiting=1)
    first, second = turns.enter("r"), turns.enter("r")
    with pytest.raises(Busy) as raised:
        turns.enter("r")
    assert (raised.value.code, raised.value.retry_after) == ("busy", 1.0)
    assert turns.is_last(second)
    assert not turns.is_last(first)
    turns.leave(second)
    assert (turns.is_last(first), turns.is_last(second)) == (True, False)
    turns.leave(first)
    assert (turns.is_last(first), len(turns)) == (False, 0)


async def test_a_turn_that_comes_as_its_caller_goes_is_passed_on() -> None:
    turns, order, until = Turns(), list[str](), asyncio.Event()
    until.set()
    first = turns.enter("r")
    second = asyncio.ensure_future(hold(turns, order, "b", until))
    third = asyncio.ensure_future(hold(turns, order, "c", until))
    await loop_turn()
    turns.leave(first)
    second.cancel()
    assert await third
    assert second.cancelled()
    assert (order, turns.waiting, len(turns)) == (["c"], 0, 0)


@given(st.lists(st.integers(0, 9), max_size=9), st.lists(st.booleans(), min_size=9, max_size=9))
async def test_whoever_goes_the_others_keep_their_order(gone: list[int], early: list[bool]) -> None:
    turns, order, until = Turns(), list[str](), asyncio.Event()
    tasks = [
        asyncio.ensure_future(hold(turns, order, str(at), until)) for at in range(10)
    ]  # fmt: skip
    for at, one in enumerate(gone):
        if early[at]:
            await loop_turn()
        tasks[one].cancel()
    until.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    left = [str(at) for at, one in enumerate(results) if not isinstance(one, BaseException)]
    assert [name for name in order if name in left] == left
    assert (turns.waiting, len(turns)) == (0, 0)


def test_the_bound_is_for_all_keys_together() -> None:
    turns = Turns()
    for key in ("a", "b"):
        for _ in range(MAX_WAITING // 2 + 1):
            turns.enter(key)
    assert turns.waiting == MAX_WAITING
    with pytest.raises(Busy):
        turns.enter("a")
    assert turns.enter("c").has_come
