"""Fetching a range page by page."""

from __future__ import annotations

from chatsvc.client.answers import Page
from chatsvc.client.events import MessageReceived
from chatsvc.core.ids import format_id
from testkit.scripted_server import EPOCH, message_id
from tests.unit.support.catching_up import (
    Fetch,
    entry,
    members,
    number,
    page,
)


async def test_pages_until_there_is_no_more() -> None:
    fetch = Fetch(page(1, 2, more=True), page(3, more=True), page(4))
    await fetch.run(9)
    assert await fetch.events() == ["number 1", "number 2", "number 3", "number 4"]
    assert fetch.api.asked == [message_id(0), message_id(2), message_id(3)]
    assert fetch.inbox.position == number(9)
    assert fetch.pauses == []


async def test_it_stops_at_the_end_of_the_range_though_there_is_more() -> None:
    fetch = Fetch(page(1, 2, more=True), page(3, 4, more=True))
    await fetch.run(4)
    assert fetch.inbox.position == number(4)
    assert len(fetch.api.asked) == 2


async def test_one_more_page_if_the_end_is_one_further() -> None:
    fetch = Fetch(page(1, 2, more=True), page(3, more=True))
    await fetch.run(3)
    assert fetch.inbox.position == number(3)


async def test_a_range_that_was_received_meanwhile_is_not_asked_for() -> None:
    fetch = Fetch(at=5)
    await fetch.run(5)
    fetch.catch_up.extend(number(3))
    await fetch.catch_up.run()
    assert fetch.api.asked == []
    assert fetch.inbox.position == number(5)
    assert await fetch.events() == []


async def test_a_smaller_target_does_not_shorten_the_range() -> None:
    fetch = Fetch(page(1, 3, more=True), page(7, more=True))
    fetch.catch_up.extend(number(7))
    await fetch.run(3)
    assert fetch.inbox.position == number(7)


async def test_overlapping_and_adjacent_ranges_are_one() -> None:
    def during() -> Page:
        fetch.catch_up.extend(number(4))  # within
        fetch.catch_up.extend(number(8))  # over the end
        fetch.catch_up.extend(number(9))  # next to it
        return page(1, 2, 3)

    fetch = Fetch(during, page(6, 9))
    await fetch.run(5)
    assert await fetch.events() == [f"number {n}" for n in (1, 2, 3, 6, 9)]
    # What the first page was asked up to is done; the rest is asked for anew.
    assert fetch.api.asked == [message_id(0), message_id(5)]


async def test_what_was_received_is_not_delivered_again() -> None:
    fetch = Fetch(page(1, 2, 3))
    for n in (1, 2):
        assert fetch.inbox.put_message(
            MessageReceived(**{**members(entry(n)), "cursor": f"{EPOCH}.{message_id(n)}"})
        )
    fetch.inbox.move_to(EPOCH, number(0))
    await fetch.run(3)
    assert await fetch.events() == ["number 1", "number 2", "number 3"]


async def test_what_the_client_sent_itself_is_passed_over() -> None:
    own = Page(
        [entry(1, sender="alice"), entry(2), entry(3, sender="alice")], False, None, None, True
    )
    fetch = Fetch(own)
    await fetch.run(3)
    assert await fetch.events() == ["number 2"]
    assert fetch.inbox.position == number(3)


async def test_a_page_of_records_that_are_not_known_moves_the_position() -> None:
    fetch = Fetch(page(more=True, after=message_id(3)), page(4))
    await fetch.run(4)
    assert fetch.api.asked == [message_id(0), message_id(3)]
    assert fetch.pauses == []


def test_ids_of_the_test_ascend() -> None:
    assert format_id(number(2)) == message_id(2) > message_id(1)
