"""Fetching by HTTP what the socket did not carry, before the socket is listened to again.

Two things make a range to fetch: a ``gap`` that the server announces, and a consumer so
slow that messages had to be left out while an ack was waited for. Meanwhile what comes
live only moves the end of the range: it is fetched in its turn, so order is kept and
memory stays bounded.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from tests.integration.support.old_client.client.errors import ApiError, TokenUnavailable, Unreachable
from tests.integration.support.old_client.client.events import MessageReceived, decode_received
from tests.integration.support.old_client.client.http import TRIES, ChatApi, Page
from tests.integration.support.old_client.client.inbox import Inbox
from tests.integration.support.old_client.client.policy import Backoff
from tests.integration.support.old_client.core.ids import format_id, parse_id

PAGE_SIZE: Final = 500

_logger = logging.getLogger("chatsvc.client")


class CatchUp:
    """The range that is being fetched, of one connection.

    Args:
        api: asked for pages of all the user's messages.
        inbox: where they go.
        wanted: whether a message is for the consumer: history holds the user's own too.
        room: returns when the inbox can take a message.
        backoff: ceilings of the waits after failures.
    """

    def __init__(
        self,
        api: ChatApi,
        inbox: Inbox,
        *,
        wanted: Callable[[MessageReceived], bool],
        room: Callable[[], Awaitable[None]],
        backoff: Backoff,
    ) -> None:
        self._api = api
        self._inbox = inbox
        self._wanted = wanted
        self._room = room
        self._backoff = backoff
        self._target: int | None = None

    @property
    def active(self) -> bool:
        """Whether what comes live must wait its turn."""
        return self._target is not None

    def extend(self, to: int) -> None:
        """The range ends here, or further."""
        self._target = to if self._target is None else max(self._target, to)

    async def run(self) -> None:
        """Fetch until nothing of the range is left, then be inactive in the same step.

        What the server cannot give is announced as a gap, and passed.
        """
        inbox = self._inbox
        failures = 0
        while self._target is not None and inbox.position < self._target:
            asked_to = self._target
            try:
                page = await self._api.history(after=format_id(inbox.position), limit=PAGE_SIZE)
            except (Unreachable, TokenUnavailable) as exc:
                # The socket will most likely end as well, and this with it.
                _logger.warning("cannot fetch what was missed: %s", exc)
                await self._pause(failures)
                failures += 1
                continue
            except ApiError as exc:
                _logger.warning("what was missed is not to be had: %s", exc)
                self._give_up(asked_to)
                continue
            if not page.complete and failures < TRIES - 1:
                await self._pause(failures)
                failures += 1
                continue
            if not page.complete:
                first = parse_id(page.messages[0].id) - 1 if page.messages else asked_to
                self._give_up(first)
            failures = 0
            await self._hand_over(page, asked_to)
        self._target = None

    async def _hand_over(self, page: Page, asked_to: int) -> None:
        inbox = self._inbox
        for message in page.messages:
            received = decode_received(message.raw, inbox.epoch or "")
            if self._wanted(received):
                await self._room()
                inbox.put_message(received)
        if page.messages and page.after is not None:
            inbox.advance(parse_id(page.after))
        if not page.has_more:
            inbox.advance(asked_to)

    def _give_up(self, up_to: int) -> None:
        inbox = self._inbox
        if up_to > inbox.position:
            inbox.put_gap(format_id(inbox.position), format_id(up_to))
            inbox.advance(up_to)

    async def _pause(self, failures: int) -> None:
        await asyncio.sleep(random.random() * self._backoff.ceiling(failures))
