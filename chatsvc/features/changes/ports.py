"""What the changes need of others."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Protocol

from chatsvc.api.conversation_access import ConversationLookup
from chatsvc.core.page import Bounds, RecordPage


class Records(Protocol):
    """The source of records of every kind, oldest first; ``kinds`` ``None``: of all."""

    async def user_page(
        self, user: str, bounds: Bounds, kinds: AbstractSet[str] | None = None
    ) -> RecordPage:
        """Return records whose audience holds the user.

        Raises:
            StoreUnavailable: the records are in the store, which is unavailable.
            HistoryBusy: too many reads wait for it.
        """

    async def channel_page(
        self, channel: str, bounds: Bounds, kinds: AbstractSet[str] | None = None, *, reader: str
    ) -> RecordPage:
        """Return records of one conversation, for the user who reads; raises the same."""


class ChangeHistory(ConversationLookup, Protocol):
    """The source of records, and of who is in a conversation."""

    @property
    def records(self) -> Records:
        """Records of every kind."""
