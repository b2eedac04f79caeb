"""A range to fetch page by page, with the answers and the pauses in the test's hand."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any

from chatsvc.client.catchup import CatchUp
from chatsvc.client.errors import ApiError, ClientError, TokenUnavailable, Unreachable
from chatsvc.client.events import (
    Change,
    ChangeReceived,
    Gap,
    Lost,
    Message,
    MessageReceived,
    decode_change,
    decode_message,
)
from chatsvc.client.inbox import Inbox
from chatsvc.client.missed import MissedPage
from chatsvc.client.policy import Backoff
from chatsvc.core.ids import parse_id
from chatsvc.wire.cursor import Cursor
from testkit.scripted_server import EPOCH, change, message, message_id

Answer = MissedPage | ApiError | Unreachable | TokenUnavailable | Callable[[], MissedPage]


def number(n: int) -> int:
    return parse_id(message_id(n))


def entry(n: int, **more: Any) -> Message:
    return decode_message(json.dumps(message(n, **more)).encode())


def edit(n: int, **more: Any) -> Change:
    return decode_change(json.dumps(change(n, "edit", **more)).encode())


def page(
    *numbers: int,
    more: bool = False,
    up_to: str | None = None,
    complete: bool = True,
    lost: tuple[int, int] | None = None,
) -> MissedPage:
    last = message_id(numbers[-1]) if numbers else None
    gone = Lost(message_id(lost[0]), message_id(lost[1])) if lost is not None else None
    return MissedPage([entry(n) for n in numbers], up_to or last, more, complete, gone)


def refusal(status: int, *, problem: bool = True, retry_after: float | None = None) -> ApiError:
    return ApiError(status, "x", "y", retry_after=retry_after, is_problem=problem)


class Pages:
    """Gives the answers that the test lined up; notes what it was asked after."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = deque(answers)
        self.asked: list[str] = []

    async def __call__(self, after: str) -> MissedPage:
        self.asked.append(after)
        await asyncio.sleep(0)
        answer = self.answers.popleft()
        if isinstance(answer, ClientError):
            raise answer
        return answer if isinstance(answer, MissedPage) else answer()


class Fetch:
    """A range of one inbox; ``pauses`` are the seconds between tries."""

    def __init__(self, *answers: Answer, at: int = 0, capacity: int = 1000) -> None:
        self.pages = Pages(*answers)
        self.inbox = Inbox(capacity, Cursor(EPOCH, number(at)))
        self.pauses: list[float] = []
        self.catch_up = CatchUp(
            self.pages,
            self.inbox,
            wanted=lambda found: isinstance(found, ChangeReceived) or found.sender != "alice",
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
        assert not self.pages.answers

    async def events(self) -> list[str | Gap | Lost]:
        """Contents of messages, kinds of changes, gaps, and what is lost."""
        found: list[str | Gap | Lost] = []
        while len(self.inbox):
            event = await self.inbox.get()
            assert isinstance(event, MessageReceived | ChangeReceived | Gap | Lost)
            if isinstance(event, MessageReceived):
                found.append(event.content)
            else:
                found.append(event.kind if isinstance(event, ChangeReceived) else event)
        return found


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
