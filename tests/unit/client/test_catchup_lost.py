"""What the server has lost of a range is announced, once, and never beyond the range."""

from __future__ import annotations

from chatsvc.client.answers import Answer, read_conversations, read_page
from chatsvc.client.events import Lost
from testkit.scripted_server import message_id
from tests.unit.support.catching_up import Fetch, number, page


def lost(after: int, to: int) -> Lost:
    return Lost(message_id(after), message_id(to))


async def test_what_is_lost_comes_before_what_is_left() -> None:
    fetch = Fetch(page(1, 5, lost=(1, 4)))
    await fetch.run(6)
    assert await fetch.events() == [lost(1, 4), "number 1", "number 5"]
    assert fetch.inbox.position == number(6)


async def test_every_page_reports_it_and_it_is_announced_once() -> None:
    fetch = Fetch(page(2, more=True, lost=(0, 8)), page(4, more=True, lost=(0, 8)), page(9))
    await fetch.run(9)
    assert await fetch.events() == [lost(0, 8), "number 2", "number 4", "number 9"]


async def test_a_second_range_of_which_more_is_lost_is_announced_from_there() -> None:
    fetch = Fetch(page(2, more=True, lost=(0, 4)), page(9, lost=(3, 7)))
    await fetch.run(9)
    assert await fetch.events() == [lost(0, 4), "number 2", lost(4, 7), "number 9"]


async def test_only_what_is_in_the_range() -> None:
    fetch = Fetch(page(5, lost=(1, 9)), at=3)
    await fetch.run(6)
    assert await fetch.events() == [lost(3, 6), "number 5"]
    before = Fetch(page(5, lost=(1, 3)), at=3)
    await before.run(6)
    assert await before.events() == ["number 5"]


async def test_after_a_restart_it_is_another_epoch_and_without_an_end() -> None:
    fetch = Fetch(page(2, lost=(0, 3)), at=0)
    await fetch.run(3)
    fetch.pages.answers.append(page(4, lost=(1, 9)))
    fetch.inbox.move_to("another", number(1))
    fetch.catch_up.restart()
    await fetch.catch_up.run()
    assert await fetch.events() == [lost(0, 3), "number 2", lost(1, 9), "number 4"]


def test_pages_say_what_is_lost() -> None:
    body = b'"has_more":false,"lost":{"from":"%s","to":"%s"}}'
    body %= (message_id(1).encode(), message_id(5).encode())
    assert read_page(Answer(200, {}, b'{"messages":[],' + body)).lost == lost(1, 5)
    assert read_conversations(Answer(200, {}, b'{"conversations":[],' + body)).lost == lost(1, 5)


def test_a_range_that_cannot_be_read_is_none() -> None:
    for value in (b"null", b'{"from":"x","to":"y"}', b'{"from":"0000000000000001","to":"y"}'):
        answer = Answer(200, {}, b'{"messages":[],"has_more":false,"lost":' + value + b"}")
        assert read_page(answer).lost is None
