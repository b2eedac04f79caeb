"""A list of conversations without what the reader's filters hide.

A conversation stays where its newest message puts it, whoever sent that; what is shown of it is
the newest message that the reader sees.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from chatsvc.core.conversation import Conversation, ConversationPage
from chatsvc.core.filters import Filters
from chatsvc.core.page import Bounds, Page


class ReadConversations(Protocol):
    """Reads a page of all conversations of the reader."""

    async def __call__(self, *, before: int, limit: int) -> ConversationPage: ...


ReadMessages = Callable[[str, Bounds], Awaitable[Page]]
"""Reads a page of what the reader sees of one conversation."""


class _Sender(msgspec.Struct, gc=False):
    sender: str


_decode: Final = msgspec.json.Decoder(_Sender).decode


async def listed_without(
    filters: Filters,
    read: ReadConversations,
    read_messages: ReadMessages,
    *,
    before: int,
    limit: int,
) -> ConversationPage:
    """The next page that has a conversation, or the end.

    Left out are sets that the reader has left, and conversations of which the reader sees nothing.

    Raises:
        StoreUnavailable: as the two that read.
    """
    complete, lost = True, None
    while True:
        page = await read(before=before, limit=limit)
        complete, lost = complete and page.complete, lost or page.lost
        found = [
            shown
            for one in page.conversations
            if not filters.has_left(one.channel)
            and (shown := await _shown(filters, read_messages, one)) is not None
        ]
        if found or not page.has_more or not page.conversations:
            return ConversationPage(found, page.has_more, complete, lost)
        before = page.conversations[-1].last_id


async def _shown(
    filters: Filters, read_messages: ReadMessages, conversation: Conversation
) -> Conversation | None:
    """A conversation with the newest message that is shown; ``None``: there is none."""
    if not filters.blocks_sender(_decode(conversation.last_message).sender, conversation.last_id):
        return conversation
    page = await read_messages(conversation.channel, Bounds(1, before=conversation.last_id))
    if not page.entries:
        return None
    return conversation._replace(last_message=page.entries[-1].body)
