"""Where what a socket did not carry is fetched: pages of messages, or of chosen kinds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from chatsvc.client.events import Lost, Record
from chatsvc.client.http import ChatApi
from chatsvc.client.kinds import ChosenKinds

PAGE_SIZE: Final = 500


class MissedPage(NamedTuple):
    """Records of a user, oldest first.

    Nothing that was asked for is missing up to ``up_to``, if the page is ``complete``; ``None``:
    the server named no such id. ``has_more``: there may be more above it. ``lost``: of this range
    some are lost for good.
    """

    records: list[Record]
    up_to: str | None
    has_more: bool
    complete: bool
    lost: Lost | None = None


MissedSource = Callable[[str], Awaitable[MissedPage]]
"""Fetches the page above an id; raises as every call of :class:`ChatApi`."""


def missed_source(api: ChatApi, kinds: ChosenKinds) -> MissedSource:
    """Return the source of these kinds. Messages alone come from where every server has them."""
    if kinds.messages_only:
        return partial(_messages, api)
    return partial(_records, api, kinds)


async def _messages(api: ChatApi, after: str) -> MissedPage:
    page = await api.history(after=after, limit=PAGE_SIZE)
    return MissedPage([*page.messages], page.after, page.has_more, page.complete, page.lost)


async def _records(api: ChatApi, kinds: ChosenKinds, after: str) -> MissedPage:
    page = await api.changes(after=after, kinds=kinds.names, limit=PAGE_SIZE)
    return MissedPage(page.frames, page.up_to, page.has_more, page.complete, page.lost)
