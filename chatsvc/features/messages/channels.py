"""Sending by a conversation's key instead of its participants.

A key that names its people (``alice,bob``) is the same as they are. A key that hides them
(``,sha256:…``) is looked up among the sender's own conversations, once; what it stands for
can never change, so it is remembered.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from chatsvc.core.errors import FieldError, Forbidden, Invalid
from chatsvc.core.limits import Limits
from chatsvc.core.participants import HASHED_PREFIX, channel_error, user_id_error
from chatsvc.features.messages.service import MessageService
from chatsvc.log.base import Appended

MAX_REMEMBERED_NAMES: Final = 65_536
"""How many user ids the remembered conversations hold together."""

_HASHED: Final = re.compile(re.escape(HASHED_PREFIX) + r"[0-9a-f]{64}\Z")


class ConversationLookup(Protocol):
    """Where the participants of a hashed key are found."""

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        """Of one conversation of the user's; ``None``, after the same work, for one that does
        not exist and for one of others.

        Raises:
            StoreUnavailable: it cannot be told now.
        """


class ConversationSender:
    """Accepts messages for a conversation that is named by its participants or by its key.

    Args:
        service: accepts what is addressed to participants.
        lookup: finds the participants of a hashed key.
        limits: the bounds of what a key may name.
    """

    def __init__(
        self, *, service: MessageService, lookup: ConversationLookup, limits: Limits
    ) -> None:
        self._submit = service.submit
        self._lookup = lookup
        self._limits = limits
        self._known: dict[tuple[str, str], list[str]] = {}
        self._known_names = 0

    def submit(
        self,
        sender: str,
        origin: str,
        participants: list[str] | msgspec.UnsetType,
        content: str,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        channel: str | msgspec.UnsetType = msgspec.UNSET,
    ) -> asyncio.Future[Appended]:
        """As :meth:`MessageService.submit`, with exactly one of participants and channel.

        The future is a Task where the key has to be looked up: whoever keeps an order of
        sends waits for it before the next.

        Raises:
            Invalid: at once: both or neither are given, or the key is none.
            Forbidden: at once, or through the future: the sender is not in the conversation,
                or there is none. Both answer alike.

        The future raises what that of :meth:`MessageService.submit` does, and:
            StoreUnavailable: who is behind a hashed key cannot be told now.
        """
        if channel is msgspec.UNSET:
            if participants is msgspec.UNSET:
                raise Invalid.at(
                    "/participants", "missing", "one of participants and channel must be given"
                )
            return self._submit(sender, origin, participants, content, client_id, metadata)
        if participants is not msgspec.UNSET:
            raise Invalid.at(
                "/channel",
                "one_conversation",
                "participants and channel must not be given together",
            )
        people = self._participants_of(sender, channel)
        if people is None:
            return asyncio.ensure_future(
                self._after_lookup(sender, origin, channel, content, client_id, metadata)
            )
        return self._submit(sender, origin, people, content, client_id, metadata)

    async def _after_lookup(
        self,
        sender: str,
        origin: str,
        channel: str,
        content: str,
        client_id: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> Appended:
        found = await self._lookup.participants(sender, channel)
        if found is None:
            raise _not_a_participant()
        people = self._remember(sender, channel, found)
        return await self._submit(sender, origin, people, content, client_id, metadata)

    def _participants_of(self, sender: str, channel: str) -> list[str] | None:
        """The people that a key names; ``None`` where they have to be looked up.

        Raises:
            Invalid: at ``/channel``.
            Forbidden: the sender is not one of them, or no conversation has such a key.
        """
        error = channel_error(channel)
        if error is not None:
            raise Invalid.at("/channel", *error)
        if channel.startswith(","):
            if not _HASHED.match(channel):
                raise _not_a_participant()
            return self._known.get((sender, channel))
        people = channel.split(",")
        if len(people) > self._limits.participants:
            max_users = self._limits.participants
            raise Invalid.at(
                "/channel", "too_many", f"channel must name at most {max_users} user ids", max_users
            )
        for user in people:
            error = user_id_error(user, self._limits.user_id_characters)
            if error is not None:
                raise Invalid.at("/channel", *error)
        if sender not in people:
            raise _not_a_participant()
        return people

    def _remember(self, sender: str, channel: str, participants: Sequence[str]) -> list[str]:
        """For this sender alone: what others may not know must not answer them sooner."""
        people = list(participants)
        while self._known and self._known_names + len(people) > MAX_REMEMBERED_NAMES:
            oldest = next(iter(self._known))
            self._known_names -= len(self._known.pop(oldest))
        if (sender, channel) not in self._known:
            self._known[sender, channel] = people
            self._known_names += len(people)
        return people


def _not_a_participant() -> Forbidden:
    detail = "you must be a participant of the conversation"
    return Forbidden(
        detail,
        code="not_a_participant",
        field_errors=(FieldError("/channel", "not_a_participant", detail),),
    )
