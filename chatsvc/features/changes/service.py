"""Read the records that a user may read."""

from __future__ import annotations

from chatsvc.api.conversation_access import NamedConversation, require_participant
from chatsvc.core.page import Bounds, RecordPage
from chatsvc.features.changes.ports import ChangeHistory


class ChangeReader:
    """Reads records of all conversations of a user, or of one."""

    def __init__(self, history: ChangeHistory) -> None:
        self._history = history

    async def page(
        self,
        user: str,
        conversation: NamedConversation | None,
        bounds: Bounds,
        kinds: frozenset[str] | None,
    ) -> RecordPage:
        """Return the oldest records within the bounds; ``None``: of all the user's.

        Raises:
            Forbidden: the user has no such conversation.
            StoreUnavailable: the records are in the store, which is unavailable.
        """
        records = self._history.records
        if conversation is None:
            return await records.user_page(user, bounds, kinds)
        await require_participant(self._history, user, conversation)
        return await records.channel_page(conversation.channel, bounds, kinds, reader=user)
