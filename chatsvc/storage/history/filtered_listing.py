"""A list of conversations without what the reader's filters hide.

A conversation stays where its newest message puts it, whoever sent that; what is shown of it is
the newest message that the reader sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from chatsvc.core.conversation import Conversation, ConversationPage, message_bytes
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.filters import Filters
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Page, fit


class ReadConversations(Protocol):
    """Reads a page of all conversations of the reader."""

    async def __call__(self, *, before: int, limit: int) -> ConversationPage: ...


ReadMessages = Callable[[str, Bounds], Awaitable[Page]]
"""Reads a page of what the reader sees of one conversation, and looks at few records for it."""


class _Sender(msgspec.Struct, gc=False):
    sender: str


_decode: Final = msgspec.json.Decoder(_Sender).decode


async def listed_without(
    filters_of: Callable[[], Awaitable[Filters]],
    read: ReadConversations,
    read_messages: ReadMessages,
    *,
    before: int,
    limit: int,
) -> ConversationPage:
    """The next page that has a conversation, or the end.

    Left out are sets that the reader has left, and conversations of whose newest messages none is
    shown. The page is not complete where the store that knows of one does not answer.

    Args:
        filters_of: those of the reader, asked behind each read.
        read: reads a page of the list with everything.
        read_messages: reads what is shown of a conversation.
        before, limit: of the page.

    Raises:
        StoreUnavailable, LogUnavailable: as ``read`` and ``filters_of``.
    """
    complete, lost = True, None
    while True:
        page = await read(before=before, limit=limit)
        complete, lost = complete and page.complete, lost or page.lost
        filters = await filters_of()
        if not filters:
            return page._replace(complete=complete, lost=lost)
        found: list[Conversation] = []
        for one in page.conversations:
            if not filters.has_left(one.channel):
                shown = await _shown(filters, read_messages, one)
                complete, lost = complete and shown.complete, lost or shown.lost
                found += shown.conversations
        kept = fit(found, message_bytes, limit, MAX_PAGE_BYTES, from_end=False)
        has_more = page.has_more or len(kept) < len(found)
        if kept or not page.has_more or not page.conversations:
            return ConversationPage(kept, has_more, complete, lost)
        before = page.conversations[-1].last_id
        await asyncio.sleep(0)  # a list from the tail is read without any other wait


async def _shown(
    filters: Filters, read_messages: ReadMessages, one: Conversation
) -> ConversationPage:
    """A conversation with the newest message that is shown, or nothing where there is none."""
    if not filters.blocks_sender(_decode(one.last_message).sender, one.last_id):
        return ConversationPage([one], has_more=False, complete=True)
    try:
        page = await read_messages(one.channel, Bounds(1, before=one.last_id))
    except StoreUnavailable:
        return ConversationPage([], has_more=False, complete=False)
    shown = [one._replace(last_message=entry.body) for entry in page.entries]
    return ConversationPage(shown, False, page.complete, page.lost)
