"""Conversations as they are listed: by their newest message."""

from __future__ import annotations

from typing import NamedTuple


class Conversation(NamedTuple):
    """A conversation by its newest message, whose JSON is ``last_message``."""

    channel: str
    participants: tuple[str, ...]
    last_id: int
    last_message: bytes


def message_bytes(conversation: Conversation) -> int:
    """Return the size of the newest message, by which pages of conversations are bounded."""
    return len(conversation.last_message)


class ConversationPage(NamedTuple):
    """Conversations, newest first; the rest as in :class:`~chatsvc.core.page.Page`."""

    conversations: list[Conversation]
    has_more: bool
    complete: bool
    lost: tuple[int, int] | None = None
