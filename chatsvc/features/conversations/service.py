"""The conversations of a user, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chatsvc.core.errors import Invalid
from chatsvc.core.ids import MAX_ID, format_id, parse_id
from chatsvc.core.limits import Limits
from chatsvc.core.lost import LostRange
from chatsvc.features.conversations.model import (
    Conversation,
    Conversations,
    ConversationsRequest,
)


class StoredConversation(Protocol):
    """A conversation as the store and the log's tail return it."""

    @property
    def channel(self) -> str: ...

    @property
    def participants(self) -> tuple[str, ...]: ...

    @property
    def last_id(self) -> int: ...

    @property
    def last_message(self) -> bytes: ...


class ConversationPage(Protocol):
    """Conversations, descending by ``last_id``."""

    @property
    def conversations(self) -> Sequence[StoredConversation]: ...

    @property
    def has_more(self) -> bool: ...

    @property
    def complete(self) -> bool: ...

    @property
    def lost(self) -> tuple[int, int] | None:
        """The id range of lost messages, above the first id up to the second, or ``None``."""


class ConversationHistory(Protocol):
    """The source of conversations."""

    async def conversations(self, user: str, *, before: int, limit: int) -> ConversationPage:
        """Return the conversations whose ``last_id`` is below ``before``, newest first.

        Raises:
            StoreUnavailable: the conversations are in the store, which is unavailable.
        """


class ConversationService:
    """Lists conversations for their participants."""

    def __init__(self, *, history: ConversationHistory, limits: Limits) -> None:
        self._history = history
        self._max_limit = limits.page

    def before(self, request: ConversationsRequest) -> int:
        """Check the limit; return ``before`` as an id, :data:`~chatsvc.core.ids.MAX_ID` without it.

        Raises:
            Invalid: at ``/limit`` or ``/before``.
        """
        if not 1 <= request.limit <= self._max_limit:
            low = request.limit < 1
            bound = 1 if low else self._max_limit
            raise Invalid.at(
                "/limit",
                "too_small" if low else "too_large",
                f"limit must be at {'least' if low else 'most'} {bound}",
                bound,
            )
        if request.before is None:
            return MAX_ID
        try:
            return parse_id(request.before)
        except ValueError as exc:
            raise Invalid.at("/before", "bad_id", str(exc), 16) from None

    async def page(self, user: str, request: ConversationsRequest) -> Conversations:
        """Return a page of the user's conversations.

        Raises:
            Invalid: at ``/limit`` or ``/before``.
            StoreUnavailable: the store is unavailable.
        """
        before = self.before(request)
        page = await self._history.conversations(user, before=before, limit=request.limit)
        found = page.conversations
        return Conversations(
            conversations=[
                Conversation(
                    channel=one.channel,
                    participants=list(one.participants),
                    last_message=msgspec.Raw(one.last_message),
                )
                for one in found
            ],
            has_more=page.has_more,
            before=format_id(found[-1].last_id) if found else request.before,
            complete=page.complete,
            lost=LostRange.of(page.lost),
        )
