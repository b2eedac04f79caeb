"""Fetching a range while the log begins a new epoch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chatsvc.client.events import MessageReceived
from chatsvc.client.missed import MissedPage
from testkit.client_events import until
from testkit.scripted_server import message_id
from tests.unit.support.catching_up import (
    Fetch,
    number,
    page,
    refusal,
)


async def test_a_reset_is_fetched_to_its_end_and_what_was_asked_before_is_left() -> None:
    def reset() -> MissedPage:
        fetch.inbox.move_to("e2", number(2))
        fetch.catch_up.restart()
        return page(4, 5, 6)  # of the epoch before

    fetch = Fetch(page(3, more=True), reset, page(3, 4, more=True), page(5), at=2)
    await fetch.run(90)
    assert await fetch.events() == ["number 3", "number 4", "number 5"]
    assert fetch.pages.asked == [message_id(n) for n in (2, 3, 2, 4)]
    # The end of the range before the reset is no position of the new epoch.
    assert fetch.inbox.cursor == f"e2.{message_id(5)}"
    assert fetch.pauses == []


async def test_each_reset_makes_what_was_asked_before_of_no_use() -> None:
    def reset(epoch: str) -> Callable[[], MissedPage]:
        def during() -> MissedPage:
            fetch.inbox.move_to(epoch, number(0))
            fetch.catch_up.restart()
            return page(1, 2, 3)

        return during

    fetch = Fetch(reset("e2"), reset("e3"), reset("e4"), page(4))
    await fetch.run(9)
    assert await fetch.events() == ["number 4"]
    assert fetch.inbox.cursor == f"e4.{message_id(4)}"
    assert fetch.pauses == []


async def test_a_refusal_from_before_a_reset_is_of_no_use_either() -> None:
    def reset() -> MissedPage:
        fetch.inbox.move_to("e2", number(0))
        fetch.catch_up.restart()
        raise refusal(403)

    fetch = Fetch(reset, page(4))
    await fetch.run(9)
    assert await fetch.events() == ["number 4"]


async def test_a_reset_while_a_page_is_being_delivered() -> None:
    fetch = Fetch(page(1, 2), page(1, 5), capacity=1)
    fetch.catch_up.extend(number(9))
    running = asyncio.create_task(fetch.catch_up.run())
    async with asyncio.timeout(10):
        await until(lambda: fetch.inbox.full)
        await asyncio.sleep(0)  # it waits to deliver the second
        fetch.inbox.move_to("e2", number(0))
        fetch.catch_up.restart()
        got = [await fetch.inbox.get(), await fetch.inbox.get()]
        await running
    assert [event.content for event in got if isinstance(event, MessageReceived)] == [
        "number 1",
        "number 5",
    ]
    assert fetch.inbox.cursor == f"e2.{message_id(5)}"
    assert fetch.pauses == []


async def test_a_reset_with_nothing_above_it_leaves_the_position() -> None:
    fetch = Fetch(page(up_to=message_id(4)), at=9)
    fetch.inbox.move_to("e2", number(4))
    fetch.catch_up.restart()
    assert fetch.catch_up.active
    await fetch.catch_up.run()
    assert fetch.inbox.cursor == f"e2.{message_id(4)}"
    assert await fetch.events() == []


async def test_a_reset_that_cannot_be_fetched_is_no_empty_gap(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fetch = Fetch(refusal(404))
    fetch.inbox.move_to("e2", number(4))
    fetch.catch_up.restart()
    await fetch.catch_up.run()
    assert await fetch.events() == []
    assert "refuses" in caplog.text
