"""Fetching a range page by page."""

from __future__ import annotations

from chatsvc.client.events import received
from chatsvc.client.missed import MissedPage
from chatsvc.core.ids import format_id
from testkit.scripted_server import EPOCH, message_id
from tests.unit.support.catching_up import (
    Fetch,
    edit,
    entry,
    number,
    page,
)


async def test_pages_until_there_is_no_more() -> None:
    fetch = Fetch(page(1, 2, more=True), page(3, more=True), page(4))
    await fetch.run(9)
    assert await fetch.events() == ["number 1", "number 2", "number 3", "number 4"]
    assert fetch.pages.asked == [message_id(0), message_id(2), message_id(3)]
    assert fetch.inbox.position == number(9)
    assert fetch.pauses == []


async def test_it_stops_at_the_end_of_the_range_though_there_is_more() -> None:
    fetch = Fetch(page(1, 2, more=True), page(3, 4, more=True))
    await fetch.run(4)
    assert fetch.inbox.position == number(4)
    assert len(fetch.pages.asked) == 2


async def test_one_more_page_if_the_end_is_one_further() -> None:
    fetch = Fetch(page(1, 2, more=True), page(3, more=True))
    await fetch.run(3)
    assert fetch.inbox.position == number(3)


async def test_a_range_that_was_received_meanwhile_is_not_asked_for() -> None:
    fetch = Fetch(at=5)
    await fetch.run(5)
    fetch.catch_up.extend(number(3))
    await fetch.catch_up.run()
    assert fetch.pages.asked == []
    assert fetch.inbox.position == number(5)
    assert await fetch.events() == []


async def test_a_smaller_target_does_not_shorten_the_range() -> None:
    fetch = Fetch(page(1, 3, more=True), page(7, more=True))
    fetch.catch_up.extend(number(7))
    await fetch.run(3)
    assert fetch.inbox.position == number(7)


async def test_overlapping_and_adjacent_ranges_are_one() -> None:
    def during() -> MissedPage:
        fetch.catch_up.extend(number(4))  # within
        fetch.catch_up.extend(number(8))  # over the end
        fetch.catch_up.extend(number(9))  # next to it
        return page(1, 2, 3)

    fetch = Fetch(during, page(6, 9))
    await fetch.run(5)
    assert await fetch.events() == [f"number {n}" for n in (1, 2, 3, 6, 9)]
    # What the first page was asked up to is done; the rest is asked for anew.
    assert fetch.pages.asked == [message_id(0), message_id(5)]


async def test_what_was_received_is_not_delivered_again() -> None:
    fetch = Fetch(page(1, 2, 3))
    for n in (1, 2):
        assert fetch.inbox.put_record(received(entry(n), EPOCH))
    fetch.inbox.move_to(EPOCH, number(0))
    await fetch.run(3)
    assert await fetch.events() == ["number 1", "number 2", "number 3"]


async def test_what_the_client_sent_itself_is_passed_over() -> None:
    own = MissedPage(
        [entry(1, sender="alice"), entry(2), entry(3, sender="alice")], None, False, True
    )
    fetch = Fetch(own)
    await fetch.run(3)
    assert await fetch.events() == ["number 2"]
    assert fetch.inbox.position == number(3)


async def test_pages_without_records_move_the_position_and_are_no_failure() -> None:
    empty = [page(more=True, up_to=message_id(n)) for n in (3, 5, 8)]
    fetch = Fetch(page(1, more=True), *empty, page(9))
    await fetch.run(12)
    assert fetch.pages.asked == [message_id(n) for n in (0, 1, 3, 5, 8)]
    assert fetch.pauses == []
    assert await fetch.events() == ["number 1", "number 9"]
    assert fetch.inbox.position == number(12)


async def test_a_page_looks_further_than_its_last_record() -> None:
    fetch = Fetch(page(1, more=True, up_to=message_id(4)), page(5))
    await fetch.run(5)
    assert fetch.pages.asked == [message_id(0), message_id(4)]


async def test_changes_come_in_order_with_messages_and_also_the_users_own() -> None:
    mixed = MissedPage(
        [entry(1), edit(2, sender="alice"), entry(3, sender="alice"), edit(4), entry(5)],
        message_id(6), False, True,
    )  # fmt: skip
    fetch = Fetch(mixed, capacity=10)
    await fetch.run(6)
    assert await fetch.events() == ["number 1", "edit", "edit", "number 5"]
    assert fetch.inbox.position == number(6)


async def test_a_change_that_was_received_is_not_delivered_again() -> None:
    fetch = Fetch(MissedPage([edit(1), edit(2)], None, False, True))
    assert fetch.inbox.put_record(received(edit(1), EPOCH))
    fetch.inbox.move_to(EPOCH, number(0))
    await fetch.run(2)
    assert await fetch.events() == ["edit", "edit"]


def test_ids_of_the_test_ascend() -> None:
    assert format_id(number(2)) == message_id(2) > message_id(1)
