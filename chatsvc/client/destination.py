"""Where a send goes: to participants, or to the conversation of a channel key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from chatsvc.client.arguments import user_list
from chatsvc.core.participants import channel_key


class Destination(NamedTuple):
    """The conversation of a send.

    ``key`` is its channel key, whichever of the two the caller gave; ``participants`` and
    ``channel`` are the members of the send that name it, one of them unset.
    """

    key: str
    participants: list[str] | UnsetType = UNSET
    channel: str | UnsetType = UNSET


def find_destination(participants: Iterable[str] | None, channel: str | None) -> Destination:
    """Tell where a send goes.

    Raises:
        ValueError: neither is given, or both are; a user id is not valid Unicode.
        TypeError: the participants are not a list of strings.
    """
    if channel is not None:
        if participants is not None:
            raise ValueError("one of participants and channel must be given, not both")
        return Destination(channel, channel=channel)
    if participants is None:
        raise ValueError("participants or channel must be given")
    users = user_list(participants, "participants")
    return Destination(channel_key(sorted(set(users))), participants=users)
