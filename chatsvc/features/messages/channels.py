"""Sends that name a conversation by its key instead of its participants.

A key that lists its participants (``alice,bob``) is equal to them. That of a group or a room is
for its members. A hashed key (``,sha256:…``) is looked up once among the sender's own
conversations; its participants can never change, so they are cached.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from chatsvc.api.conversation_access import ConversationLookup, participants_of
from chatsvc.core.errors import Invalid, not_a_participant
from chatsvc.core.limits import Limits
from chatsvc.core.membership import is_member_channel
from chatsvc.core.participants import HASHED_PREFIX, channel_error, user_id_error
from chatsvc.core.sized_cache import SizedCache
from chatsvc.features.messages.member_sends import MemberSends
from chatsvc.features.messages.service import MessageService
from chatsvc.log.base import Appended

MAX_REMEMBERED_NAMES: Final = 65_536
"""The maximum number of user ids in all cached conversations together."""

_HASHED: Final = re.compile(re.escape(HASHED_PREFIX) + r"[0-9a-f]{64}\Z")


class ConversationSender:
    """Accept messages for a conversation that is named by its participants or by its key.

    Args:
        service: accepts messages to participants.
        members: accepts messages to the members of a group or a room.
        lookup: finds the participants of a hashed key.
        limits: the bounds of the participants of a key.
    """

    def __init__(
        self,
        *,
        service: MessageService,
        members: MemberSends,
        lookup: ConversationLookup,
        limits: Limits,
    ) -> None:
        self._submit = service.submit
        self._submit_to_members = members.submit
        self._lookup = lookup
        self._limits = limits
        self._known: SizedCache[tuple[str, str], list[str]] = SizedCache(MAX_REMEMBERED_NAMES)

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
        """Accept a message, as :meth:`MessageService.submit`; needs participants or channel.

        The future is a Task where the key has to be looked up: a caller that keeps the order
        of sends waits for it before the next one.

        Raises:
            Invalid: immediately: both or neither are given, or the key is not valid.
            Forbidden: immediately, or through the future: the sender is not a participant or a
                member, or there is no such conversation. Both get the same answer.
            LogUnavailable: immediately: who is a member cannot be told now.

        The future raises what that of :meth:`MessageService.submit` does, and:
            StoreUnavailable: a hashed key cannot be looked up now.
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
        if is_member_channel(channel):
            _check_key(channel)
            return self._submit_to_members(sender, origin, channel, content, client_id, metadata)
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
        found = await participants_of(self._lookup, sender, channel)
        people = self._remember(sender, channel, found)
        return await self._submit(sender, origin, people, content, client_id, metadata)

    def _participants_of(self, sender: str, channel: str) -> list[str] | None:
        """Return the participants that a key lists, or ``None`` where they must be looked up.

        Raises:
            Invalid: at ``/channel``.
            Forbidden: the sender is not one of them, or no conversation has such a key.
        """
        _check_key(channel)
        if channel.startswith(","):
            if not _HASHED.match(channel):
                raise not_a_participant("/channel")
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
            raise not_a_participant("/channel")
        return people

    def _remember(self, sender: str, channel: str, participants: Sequence[str]) -> list[str]:
        """Cache for this sender only: other senders must not see from the timing what exists."""
        people = list(participants)
        self._known.add((sender, channel), people, len(people))
        return people


def _check_key(channel: str) -> None:
    error = channel_error(channel)
    if error is not None:
        raise Invalid.at("/channel", *error)
