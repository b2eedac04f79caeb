"""The conversations of a user, newest first."""

from __future__ import annotations

from typing import Protocol

from chatsvc.core.conversation import ConversationPage


class ConversationHistory(Protocol):
    """The source of conversations."""

    async def conversations(self, user: str, *, before: int, limit: int) -> ConversationPage:
        """Return the conversations whose ``last_id`` is below ``before``, newest first.

        Raises:
            StoreUnavailable: the conversations are in the store, which is unavailable.
        """


class ConversationService:
    """Lists conversations for their participants."""

    def __init__(self, *, history: ConversationHistory) -> None:
        self._history = history

    async def page(self, user: str, *, before: int, limit: int) -> ConversationPage:
        """Return the user's conversations whose newest message is below ``before``.

        Raises:
            StoreUnavailable: the store is unavailable.
        """
        return await self._history.conversations(user, before=before, limit=limit)
