"""Fetching a range while that fails."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.client.errors import ClientError
from chatsvc.client.events import Gap
from chatsvc.client.missed import MissedPage
from testkit.scripted_server import message_id
from tests.unit.support.catching_up import (
    PASSING,
    Answer,
    Fetch,
    Pages,
    number,
    page,
    refusal,
)


@pytest.mark.parametrize("failure", PASSING, ids=str)
@pytest.mark.parametrize("times", [1, 7])
async def test_a_failure_that_passes_is_waited_for_and_loses_nothing(
    failure: Answer, times: int
) -> None:
    fetch = Fetch(page(1, more=True), *[failure] * times, page(2), at=0)
    await fetch.run(9)
    assert await fetch.events() == ["number 1", "number 2"]
    assert fetch.pages.asked == [message_id(0)] + [message_id(1)] * (times + 1)
    assert fetch.inbox.position == number(9)
    assert fetch.pauses == [0.5, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0][:times]


async def test_the_position_does_not_pass_what_is_not_fetched() -> None:
    def look() -> MissedPage:
        seen.append(fetch.inbox.position)
        return page(2)

    seen: list[int] = []
    fetch = Fetch(refusal(503), refusal(429), look)
    await fetch.run(9)
    assert seen == [number(0)]


async def test_success_starts_the_pauses_over() -> None:
    fetch = Fetch(refusal(502), refusal(502), page(1, more=True), refusal(502), page(2))
    await fetch.run(2)
    assert fetch.pauses == [0.5, 1.0, 0.5]


async def test_the_server_says_how_long_to_wait() -> None:
    fetch = Fetch(
        refusal(429, retry_after=10),
        refusal(503, retry_after=0),  # never at once
        refusal(503, retry_after=1e9),  # and not for ever
        page(1),
    )
    await fetch.run(1)
    assert fetch.pauses == [10.5, 1.0, 3780.0]


async def test_a_page_with_more_and_nothing_new_is_a_failure_and_not_a_loop() -> None:
    empty = page(more=True, up_to=message_id(0))
    without = MissedPage([], None, True, True)
    old = page(0, more=True)
    fetch = Fetch(empty, without, old, page(1))
    await fetch.run(5)
    assert await fetch.events() == ["number 1"]
    assert fetch.pauses == [0.5, 1.0, 2.0]
    assert fetch.pages.asked == [message_id(0)] * 4


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
async def test_what_the_server_refuses_for_good_is_a_gap_with_exact_ends(status: int) -> None:
    fetch = Fetch(page(1, 2, more=True), refusal(status))
    await fetch.run(9)
    assert await fetch.events() == ["number 1", "number 2", Gap(message_id(2), message_id(9))]
    assert fetch.inbox.position == number(9)
    assert fetch.pauses == []


async def test_the_range_may_grow_while_it_is_refused() -> None:
    def grow() -> MissedPage:
        fetch.catch_up.extend(number(12))
        raise refusal(403)

    fetch = Fetch(grow, page(11))
    await fetch.run(9)
    assert await fetch.events() == [Gap(message_id(0), message_id(9)), "number 11"]
    assert fetch.pages.asked == [message_id(0), message_id(9)]


class Server(Pages):
    """A log that grows while it is read, and fails as a test drew it.

    Every third record is of a kind that was not asked for: pages look at it and leave it out.
    """

    def __init__(self, data: st.DataObject) -> None:
        super().__init__()
        self.data = data
        self.log: list[int] = []
        self.fetch: Fetch
        self.failures = 0

    def accept(self, count: int) -> None:
        start = self.log[-1] + 1 if self.log else 1
        self.log += range(start, start + count)

    async def __call__(self, after: str) -> MissedPage:
        await asyncio.sleep(0)
        draw = self.data.draw
        if len(self.log) < 30 and draw(st.booleans()):  # what comes live meanwhile
            self.accept(draw(st.integers(1, 3)))
            self.fetch.catch_up.extend(number(self.log[-1]))
        if self.failures < 20 and draw(st.integers(0, 2)) == 0:
            self.failures += 1
            failure = draw(st.sampled_from([one for one in PASSING if not callable(one)]))
            if isinstance(failure, ClientError):
                raise failure
            assert isinstance(failure, MissedPage)
            return failure
        above = [n for n in self.log if message_id(n) > after]
        looked_at = above[: draw(st.integers(1, 4))]
        up_to = message_id(looked_at[-1]) if looked_at else after
        found = [n for n in looked_at if n % 3]
        return page(*found, more=len(looked_at) < len(above), up_to=up_to)


@given(st.data())
@settings(max_examples=60, deadline=None)
async def test_whatever_fails_everything_is_delivered_once_and_in_order(
    data: st.DataObject,
) -> None:
    server = Server(data)
    fetch = Fetch()
    server.fetch = fetch
    fetch.catch_up._source = server
    server.accept(data.draw(st.integers(1, 12)))
    await fetch.run(server.log[-1])
    assert fetch.inbox.position == number(server.log[-1])
    assert await fetch.events() == [f"number {n}" for n in server.log if n % 3]
