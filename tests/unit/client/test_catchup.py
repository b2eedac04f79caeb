"""Fetching a range page by page, with the answers and the pauses in the test's hand."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.client.answers import Page
from chatsvc.client.catchup import PAGE_SIZE, CatchUp
from chatsvc.client.errors import ApiError, ClientError, TokenUnavailable, Unreachable
from chatsvc.client.events import Gap, Message, MessageReceived, decode_message
from chatsvc.client.http import ChatApi
from chatsvc.client.inbox import Inbox
from chatsvc.client.policy import Backoff
from chatsvc.core.ids import format_id, parse_id
from chatsvc.wire.cursor import Cursor
from tests.support.client_events import until
from tests.support.scripted_server import EPOCH, message, message_id

Answer = Page | ApiError | Unreachable | TokenUnavailable | Callable[[], Page]


def number(n: int) -> int:
    return parse_id(message_id(n))


def entry(n: int, **more: Any) -> Message:
    return decode_message(json.dumps(message(n, **more)).encode())


def page(
    *numbers: int, more: bool = False, after: str | None = None, complete: bool = True
) -> Page:
    last = message_id(numbers[-1]) if numbers else None
    return Page([entry(n) for n in numbers], more, None, after or last, complete)


def refusal(status: int, *, problem: bool = True, retry_after: float | None = None) -> ApiError:
    return ApiError(status, "x", "y", retry_after=retry_after, is_problem=problem)


class Pages(ChatApi):
    """Gives the answers that the test lined up; notes what it was asked after."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__("http://127.0.0.1:1", "t")
        self.answers = deque(answers)
        self.asked: list[str | None] = []

    async def history(self, *_: Any, **query: Any) -> Page:
        assert set(query) == {"after", "limit"}
        assert query["limit"] == PAGE_SIZE
        self.asked.append(query["after"])
        await asyncio.sleep(0)
        answer = self.answers.popleft()
        if isinstance(answer, ClientError):
            raise answer
        return answer if isinstance(answer, Page) else answer()


class Fetch:
    """A range of one inbox; ``pauses`` are the seconds between tries."""

    def __init__(self, *answers: Answer, at: int = 0, capacity: int = 1000) -> None:
        self.api = Pages(*answers)
        self.inbox = Inbox(capacity, Cursor(EPOCH, number(at)))
        self.pauses: list[float] = []
        self.catch_up = CatchUp(
            self.api,
            self.inbox,
            wanted=lambda found: found.sender != "alice",
            wait_for_space=self._space,
            backoff=Backoff(first=1.0, maximum=4.0),
            draw=lambda: 0.5,
            sleep=self._pause,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def _space(self) -> None:
        while self.inbox.full:
            await self.inbox.wait_changed(1.0)

    async def run(self, to: int) -> None:
        self.catch_up.extend(number(to))
        assert self.catch_up.active
        async with asyncio.timeout(10):
            await self.catch_up.run()
        assert not self.catch_up.active
        assert not self.api.answers

    async def events(self) -> list[str | Gap]:
        """Contents of messages, and gaps."""
        found: list[str | Gap] = []
        while len(self.inbox):
            event = await self.inbox.get()
            assert isinstance(event, MessageReceived | Gap)
            found.append(event if isinstance(event, Gap) else event.content)
        return found


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
            MessageReceived(**{**_members(entry(n)), "cursor": f"{EPOCH}.{message_id(n)}"})
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


PASSING = [
    Unreachable("no answer"),
    TokenUnavailable("no token"),
    refusal(401),
    refusal(408),
    refusal(425),
    refusal(429),
    refusal(500),
    refusal(502, problem=False),
    refusal(503),
    refusal(403, problem=False),
    refusal(404, problem=False),
    refusal(302, problem=False),
    refusal(200, problem=False),  # a page that cannot be read
    page(complete=False),
    page(7, complete=False),
]


@pytest.mark.parametrize("failure", PASSING, ids=str)
@pytest.mark.parametrize("times", [1, 7])
async def test_a_failure_that_passes_is_waited_for_and_loses_nothing(
    failure: Answer, times: int
) -> None:
    fetch = Fetch(page(1, more=True), *[failure] * times, page(2), at=0)
    await fetch.run(9)
    assert await fetch.events() == ["number 1", "number 2"]
    assert fetch.api.asked == [message_id(0)] + [message_id(1)] * (times + 1)
    assert fetch.inbox.position == number(9)
    assert fetch.pauses == [0.5, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0][:times]


async def test_the_position_does_not_pass_what_is_not_fetched() -> None:
    def look() -> Page:
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
    empty = page(more=True, after=message_id(0))
    without = Page([], True, None, None, True)
    old = page(0, more=True)
    fetch = Fetch(empty, without, old, page(1))
    await fetch.run(5)
    assert await fetch.events() == ["number 1"]
    assert fetch.pauses == [0.5, 1.0, 2.0]
    assert fetch.api.asked == [message_id(0)] * 4


async def test_a_page_of_records_that_are_not_known_moves_the_position() -> None:
    fetch = Fetch(page(more=True, after=message_id(3)), page(4))
    await fetch.run(4)
    assert fetch.api.asked == [message_id(0), message_id(3)]
    assert fetch.pauses == []


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
async def test_what_the_server_refuses_for_good_is_a_gap_with_exact_ends(status: int) -> None:
    fetch = Fetch(page(1, 2, more=True), refusal(status))
    await fetch.run(9)
    assert await fetch.events() == ["number 1", "number 2", Gap(message_id(2), message_id(9))]
    assert fetch.inbox.position == number(9)
    assert fetch.pauses == []


async def test_the_range_may_grow_while_it_is_refused() -> None:
    def grow() -> Page:
        fetch.catch_up.extend(number(12))
        raise refusal(403)

    fetch = Fetch(grow, page(11))
    await fetch.run(9)
    assert await fetch.events() == [Gap(message_id(0), message_id(9)), "number 11"]
    assert fetch.api.asked == [message_id(0), message_id(9)]


async def test_a_reset_is_fetched_to_its_end_and_what_was_asked_before_is_left() -> None:
    def reset() -> Page:
        fetch.inbox.move_to("e2", number(2))
        fetch.catch_up.restart()
        return page(4, 5, 6)  # of the epoch before

    fetch = Fetch(page(3, more=True), reset, page(3, 4, more=True), page(5), at=2)
    await fetch.run(90)
    assert await fetch.events() == ["number 3", "number 4", "number 5"]
    assert fetch.api.asked == [message_id(n) for n in (2, 3, 2, 4)]
    # The end of the range before the reset is no position of the new epoch.
    assert fetch.inbox.cursor == f"e2.{message_id(5)}"
    assert fetch.pauses == []


async def test_each_reset_makes_what_was_asked_before_of_no_use() -> None:
    def reset(epoch: str) -> Callable[[], Page]:
        def during() -> Page:
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
    def reset() -> Page:
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
    fetch = Fetch(page(after=message_id(4)), at=9)
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


class Server(Pages):
    """A log that grows while it is read, and fails as a test drew it."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__()
        self.data = data
        self.log: list[int] = []
        self.fetch: Fetch
        self.failures = 0

    def accept(self, count: int) -> None:
        start = self.log[-1] + 1 if self.log else 1
        self.log += range(start, start + count)

    async def history(self, *_: Any, **query: Any) -> Page:
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
            assert isinstance(failure, Page)
            return failure
        above = [n for n in self.log if message_id(n) > query["after"]]
        found = above[: draw(st.integers(1, 4))]
        return page(*found, more=len(found) < len(above), after=None if found else query["after"])


@given(st.data())
@settings(max_examples=60, deadline=None)
async def test_whatever_fails_everything_is_delivered_once_and_in_order(
    data: st.DataObject,
) -> None:
    server = Server(data)
    fetch = Fetch()
    server.fetch = fetch
    fetch.catch_up._api = server
    server.accept(data.draw(st.integers(1, 12)))
    await fetch.run(server.log[-1])
    assert fetch.inbox.position == number(server.log[-1])
    assert await fetch.events() == [f"number {n}" for n in server.log]


def _members(found: Message) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Message.__dataclass_fields__}


def test_ids_of_the_test_ascend() -> None:
    assert format_id(number(2)) == message_id(2) > message_id(1)
