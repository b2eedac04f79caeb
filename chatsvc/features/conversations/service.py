"""The conversations of a user, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


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

    def __init__(self, *, history: ConversationHistory) -> None:
        self._history = history

    async def page(self, user: str, *, before: int, limit: int) -> ConversationPage:
        """Return the user's conversations whose newest message is below ``before``.

        Raises:
            StoreUnavailable: the store is unavailable.
        """
        return await self._history.conversations(user, before=before, limit=limit)
