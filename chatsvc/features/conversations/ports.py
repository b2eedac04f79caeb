"""What the conversations need of others."""

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
