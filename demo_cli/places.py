"""Where one talks: among participants, or in a group; and where it was last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from chatsvc.client import ChatApi, ClientError, Conversation, Group, Message
from chatsvc.core.membership import GROUP_PREFIX

LOOKUP_SECONDS: Final = 1.0
"""How long a lookup that only adds to what is shown may take."""


class Place(NamedTuple):
    """A conversation: by its participants, or a group by its channel."""

    participants: tuple[str, ...] | None = None
    channel: str | None = None


def place_of(channel: str, participants: Sequence[str]) -> Place | None:
    """Return the place of a conversation; ``None`` where it is not told who is in it."""
    if channel.startswith(GROUP_PREFIX):
        return Place(channel=channel)
    return Place(tuple(participants)) if participants else None


class Places:
    """The conversations that Enter may be for, and the names of groups.

    ``chosen`` is the last one of one's own, ``received`` that of what came last.

    Args:
        api: where names and the newest conversation are looked up.
    """

    def __init__(self, api: ChatApi) -> None:
        self._api = api
        self._names: dict[str, str] = {}
        self.chosen: Place | None = None
        self.received: Place | None = None

    @property
    def last(self) -> Place | None:
        """The conversation that Enter is for, if it is known already."""
        return self.chosen or self.received

    @property
    def last_group(self) -> str | None:
        """The channel of the group that Enter is for."""
        for place in (self.chosen, self.received):
            if place is not None and place.channel is not None:
                return place.channel
        return None

    def note(self, message: Message) -> None:
        """Note where a message came in."""
        self.received = place_of(message.channel, message.participants) or self.received

    def enter(self, group: Group) -> None:
        """Talk in a group from now on."""
        self.learn(group.channel, group.name)
        self.chosen = Place(channel=group.channel)

    def leave(self, channel: str) -> None:
        """Talk there no longer."""
        place = Place(channel=channel)
        self.chosen = None if self.chosen == place else self.chosen
        self.received = None if self.received == place else self.received

    def learn(self, channel: str, name: str) -> None:
        """Note the name of a group."""
        self._names[channel] = name

    async def groups(self) -> list[Group]:
        """Fetch all groups of the user's."""
        found: list[Group] = []
        after = None
        while True:
            page = await self._api.groups.page(after=after)
            found += page.groups
            if page.after is None:
                break
            after = page.after
        for group in found:
            self.learn(group.channel, group.name)
        return found

    async def name_of(self, channel: str) -> str | None:
        """Return the name of a group; ``None`` for what is none, or not to be known."""
        if channel.startswith(GROUP_PREFIX) and channel not in self._names:
            try:
                async with asyncio.timeout(LOOKUP_SECONDS):
                    group = await self._api.groups.get(channel.removeprefix(GROUP_PREFIX))
            except (ClientError, TimeoutError):
                return None
            self.learn(channel, group.name)
        return self._names.get(channel)

    async def label(self, place: Place) -> str:
        """Name a place in a question."""
        if place.channel is not None:
            return f"group {await self.name_of(place.channel) or place.channel}"
        return ", ".join(sorted(place.participants or ()))

    async def newest(self) -> Place | None:
        """Look up the user's newest conversation."""
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                page = await self._api.conversations(limit=1)
        except (ClientError, TimeoutError):
            return None  # the same will be said of what is done next
        return place_in(page.conversations[0]) if page.conversations else None


def place_in(conversation: Conversation) -> Place | None:
    """Return the place of a conversation of a page."""
    return place_of(conversation.channel, conversation.participants)
