"""Read the records that a user may read."""

from __future__ import annotations

from chatsvc.core.errors import Invalid, not_a_participant
from chatsvc.core.page import Bounds, RecordPage
from chatsvc.core.participants import channel_error
from chatsvc.features.changes.ports import ChangeHistory


class ChangeReader:
    """Reads records of all conversations of a user, or of one."""

    def __init__(self, history: ChangeHistory) -> None:
        self._history = history

    async def page(
        self, user: str, channel: str | None, bounds: Bounds, kinds: frozenset[str] | None
    ) -> RecordPage:
        """Return the oldest records within the bounds; :func:`check_channel` comes before.

        Raises:
            Forbidden: the user has no such conversation.
            StoreUnavailable: the records are in the store, which is unavailable.
        """
        records = self._history.records
        if channel is None:
            return await records.user_page(user, bounds, kinds)
        # Permission before reading: a read would take longer where there are records.
        if channel[:1] == "," and await self._history.participants(user, channel) is None:
            raise not_a_participant("/channel")
        return await records.channel_page(channel, bounds, kinds, reader=user)


def check_channel(user: str, channel: str) -> None:
    """Check that this can be the key of a conversation of the user's.

    Whether a hashed one is, the history alone can tell.

    Raises:
        Invalid: at ``/channel``.
        Forbidden: the key names its participants, and the user is none of them.
    """
    error = channel_error(channel)
    if error is not None:
        raise Invalid.at("/channel", *error)
    if channel[:1] != "," and user not in channel.split(","):
        raise not_a_participant("/channel")
