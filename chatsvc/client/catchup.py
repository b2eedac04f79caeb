"""Fetching by HTTP what the socket did not carry, in order with what it carries next.

Three things make a range to fetch: a ``gap`` that the server announces, a ``reset``, and
a consumer so slow that records had to be left out while an ack was waited for. Until it
is fetched, what comes live only moves the end of the range: it is fetched in its turn,
so order is kept and memory stays bounded.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from chatsvc.client.errors import ApiError, TokenUnavailable, Unreachable
from chatsvc.client.events import Lost, Received, received
from chatsvc.client.inbox import Inbox
from chatsvc.client.missed import MissedPage, MissedSource
from chatsvc.client.policy import Backoff
from chatsvc.core.ids import format_id, parse_id

_logger = logging.getLogger("chatsvc.client")


class CatchUp:
    """The range that is being fetched for one connection.

    It is tried until it is fetched, with a pause after each failure. Only what the server
    refuses for good is given up, and announced by a :class:`~chatsvc.client.events.Gap`.

    Args:
        source: asked for pages of all the user's records that the client receives.
        inbox: takes the records; its position is where the range begins.
        wanted: whether a record is for the consumer; pages hold the user's own messages too.
        wait_for_space: returns when the inbox can take a record.
        backoff: ceilings of the pauses.
        draw: yields numbers in [0, 1), for the jitter.
        sleep: pauses for so many seconds.
    """

    def __init__(
        self,
        source: MissedSource,
        inbox: Inbox,
        *,
        wanted: Callable[[Received], bool],
        wait_for_space: Callable[[], Awaitable[None]],
        backoff: Backoff,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._inbox = inbox
        self._wanted = wanted
        self._wait_for_space = wait_for_space
        self._backoff = backoff
        self._draw = draw
        self._sleep = sleep
        self._target: int | None = None
        self._open_ended = False
        self._epoch_mark = object()  # another one for each restart
        self._lost_up_to = 0

    @property
    def active(self) -> bool:
        """Whether there is a range to fetch: what comes live must wait its turn."""
        return self._target is not None

    def extend(self, to: int) -> None:
        """Fetch up to the id ``to``, unless the range reaches further already."""
        self._target = to if self._target is None else max(self._target, to)

    def restart(self) -> None:
        """Fetch everything above the inbox's position, which is in another epoch now."""
        self._target = self._inbox.position
        self._open_ended = True
        self._epoch_mark = object()
        self._lost_up_to = 0

    async def run(self) -> None:
        """Fetch until nothing of the range is left; inactive in the same step of the loop."""
        inbox = self._inbox
        failures = 0
        while self._target is not None and (self._open_ended or inbox.position < self._target):
            target, mark = self._target, self._epoch_mark
            try:
                page = await self._source(format_id(inbox.position))
            except ApiError as exc:
                if exc.final and mark is self._epoch_mark:
                    _logger.error("the server refuses what was missed: %s", exc)
                    self._give_up(target)
                    continue
                problem, retry_after = str(exc), exc.retry_after
            except (Unreachable, TokenUnavailable) as exc:
                problem, retry_after = str(exc), None
            else:
                problem, retry_after = await self._take(page, target, mark), None
            if not problem:
                failures = 0
                continue
            _logger.warning("what was missed is not fetched yet: %s", problem)
            await self._sleep(self._backoff.wait(failures, self._draw(), retry_after))
            failures += 1
        self._target = None
        self._open_ended = False

    async def _take(self, page: MissedPage, target: int, mark: object) -> str:
        """Move the inbox by a page.

        Returns:
            Why the page is of no use; empty if it was.
        """
        inbox = self._inbox
        before, epoch = inbox.position, inbox.epoch or ""
        if mark is not self._epoch_mark:
            return ""
        if not page.complete:
            return "the server's store is away"
        self._announce_lost(page.lost, target)
        for record in page.records:
            event = received(record, epoch)
            if self._wanted(event):
                await self._wait_for_space()
                if mark is not self._epoch_mark:
                    return ""
                inbox.put_record(event)
        if page.up_to is not None:
            inbox.advance(parse_id(page.up_to))
        if not page.has_more:
            inbox.advance(target)
            self._open_ended = False
            return ""
        return "" if inbox.position > before else "a page has nothing new, and not the end either"

    def _announce_lost(self, lost: Lost | None, target: int) -> None:
        """Announce what the server has lost of the range, once over all pages."""
        if lost is None:
            return
        to = parse_id(lost.to_id) if self._open_ended else min(parse_id(lost.to_id), target)
        start = max(parse_id(lost.from_id), self._inbox.position, self._lost_up_to)
        self._inbox.put_lost(format_id(start), format_id(to))
        self._lost_up_to = max(self._lost_up_to, to)

    def _give_up(self, target: int) -> None:
        inbox = self._inbox
        inbox.put_gap(format_id(inbox.position), format_id(target))
        inbox.advance(target)
        self._open_ended = False
