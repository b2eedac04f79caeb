"""Whether a caller may use a conversation that a request names by its key.

Every key that is not one of the caller's gets the same answer, whether the conversation exists
or not.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chatsvc.core.errors import Invalid, not_a_participant
from chatsvc.core.participants import channel_error


class ConversationLookup(Protocol):
    """The source of the participants of a conversation."""

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        """Return the participants of one conversation of the user's, or ``None``.

        Nobody for a group or a room of which the user is or was a member: it may be read.

        ``None``, after the same work, for a conversation that does not exist and for one of
        other users.

        Raises:
            StoreUnavailable: the store does not answer now.
        """


class NamedConversation(NamedTuple):
    """A conversation. ``proven``: the request alone shows that the caller is a participant."""

    channel: str
    proven: bool


def named_by_key(user: str, channel: str) -> NamedConversation:
    """Return the conversation of a key, where it can be one of the user's.

    Raises:
        Invalid: at ``/channel``.
        Forbidden: the key lists its participants, and the user is not one of them.
    """
    error = channel_error(channel)
    if error is not None:
        raise Invalid.at("/channel", *error)
    if channel.startswith(","):
        return NamedConversation(channel, False)
    if user not in channel.split(","):
        raise not_a_participant("/channel")
    return NamedConversation(channel, True)


async def require_participant(
    lookup: ConversationLookup, user: str, conversation: NamedConversation
) -> None:
    """Check that the user is a participant; before reading, so that time does not tell.

    A read takes longer where there are messages.

    Raises:
        Forbidden: the user has no such conversation.
        StoreUnavailable: the store does not answer now.
    """
    if not conversation.proven:
        await participants_of(lookup, user, conversation.channel)


async def participants_of(lookup: ConversationLookup, user: str, channel: str) -> tuple[str, ...]:
    """Return the participants of a conversation of the user's; raises as the check of it.

    Those of a group or a room are nobody.
    """
    found = await lookup.participants(user, channel)
    if found is None:
        raise not_a_participant("/channel")
    return found
