"""Groups: drafts of joins, ends and messages, and decisions as a feature would make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from chatsvc.core.change import draft_change
from chatsvc.core.kinds import Kind
from chatsvc.core.membership import (
    THIS_RECORD,
    Channel,
    Filter,
    Member,
    RequestKey,
    StateChange,
    personal_channel,
)
from chatsvc.core.message import draft_message
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended, MessageLog
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.guards import Guard
from chatsvc.log.merging import Merged, Merging
from chatsvc.storage.history.repeats import Repeats

GROUP: Final = ",g:team"
MEMBER: Final = Kind(name="member", blockable=False)
"""A change of who is a member."""


def member_change(
    *members: Member,
    channel: str = GROUP,
    sender: str = "alice",
    state: Channel | None = None,
    audience: tuple[str, ...] = (),
    client_id: str | None = None,
) -> Draft:
    """A record that changes these rows."""
    return draft_change(
        MEMBER,
        channel=channel,
        audience=audience,
        sender=sender,
        fields={"users": [one.user for one in members]},
        client_id=client_id,
        state=StateChange(members, state),
    )


def joining(*users: str, channel: str = GROUP, role: str = "member") -> Draft:
    """These users become members, who see what follows."""
    rows = (Member(user, THIS_RECORD, 0, role, THIS_RECORD) for user in users)
    return member_change(*rows, channel=channel)


def wish_to_join(user: str, client_id: str | None = None, *, channel: str = GROUP) -> Draft:
    """One user's join, as it would be without others."""
    row = Member(user, THIS_RECORD, 0, "member", THIS_RECORD)
    return member_change(row, channel=channel, sender=user, client_id=client_id)


def leaving(*members: Member, channel: str = GROUP) -> Draft:
    """Memberships that go on end."""
    rows = (Member(one.user, one.joined, THIS_RECORD, "member", 0) for one in members)
    return member_change(*rows, channel=channel)


def filtering(sort: str, of: str, *, since: int = 0, user: str = "bob") -> Draft:
    """A filter of a user begins, or the one that began with a record ends."""
    row = Filter(user, sort, of, since or THIS_RECORD, THIS_RECORD if since else 0)
    return draft_change(
        MEMBER,
        channel=personal_channel(user),
        audience=(user,),
        sender=user,
        fields={"users": [user]},
        state=StateChange(filters=(row,)),
    )


def said(content: str, *, channel: str = GROUP, sender: str = "alice") -> Draft:
    """A message to the members of a channel."""
    return draft_message(
        channel=channel, participants=(), sender=sender, content=content, origin="laptop"
    )


def member_key(user: str, channel: str = GROUP) -> str:
    """The key of one person's membership."""
    return f"m/{channel}/{user}"


def group_key(channel: str = GROUP) -> str:
    """The key of the number of members, and of who the admins are."""
    return f"r/{channel}"


class Group:
    """Decisions on a group of a log, as a feature would make them."""

    def __init__(
        self,
        log: MessageLog,
        channel: str = GROUP,
        *,
        capacity: int = 1 << 30,
        merging: Merging | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        self._log = log
        self._channel = channel
        self._capacity = capacity
        self.merging = merging or Merging(Deciding(log))
        self.deciding = self.merging.deciding
        self._repeats = repeats

    async def join(self, user: str, client_id: str | None = None) -> list[Appended] | str:
        """What a join comes to: its record, or ``member``, or ``full``."""
        wish = wish_to_join(user, client_id, channel=self._channel)
        first = await self._repeats.find(wish) if self._repeats is not None else None
        if first is not None:
            return [first]
        return await self.merging.decide(group_key(self._channel), "join", wish, self._join_all)

    def _join_all(self, wishes: Sequence[Draft]) -> Merged[list[Appended] | str]:
        channel = self._channel
        as_of, known = self._log.tail.head, self._log.state.channel(channel)
        places = self._capacity - (known.count if known is not None else 0)
        new: dict[str, None] = {}
        requests: list[RequestKey] = []
        answers: list[list[Appended] | str | Exception | None] = []
        repeats = self._repeats
        firsts = [None] * len(wishes) if repeats is None else repeats.remembered(wishes)
        for wish, first in zip(wishes, firsts, strict=True):
            user = wish.sender
            member = self._log.state.member(channel, user)
            if first is not None:
                answers.append([first] if isinstance(first, Appended) else first)
            elif member is not None and member.is_present:
                answers.append("member")
            elif user in new or len(new) < places:
                new[user] = None
                answers.append(None)
                if wish.client_id is not None:
                    requests.append(RequestKey(user, wish.client_id, wish.digest))
            else:
                answers.append("full")
        if not new:
            return Merged(None, answers)
        keys = (group_key(channel), *(member_key(user, channel) for user in new))
        draft = msgspec.structs.replace(
            joining(*new, channel=channel), touches=keys, keys=tuple(requests)
        )
        return Merged(Decision([draft], Guard(as_of, keys)), answers)

    async def leave(self, user: str) -> list[Appended] | str:
        """What a leave comes to; it is always allowed."""
        own = member_key(user, self._channel)

        def decide() -> Decision | str:
            as_of = self._log.tail.head
            member = self._log.state.member(self._channel, user)
            if member is None or not member.is_present:
                return "no member"
            draft = leaving(member, channel=self._channel)
            touches = (own, group_key(self._channel))
            draft = msgspec.structs.replace(draft, touches=touches)
            return Decision([draft], Guard(as_of, (own,)))

        return await self.deciding.decide_again(decide)

    async def say(self, sender: str, content: str = "x") -> list[Appended] | str:
        """What a message to the group comes to, guarded by its sender's membership."""
        keys = (member_key(sender, self._channel), f"s/{self._channel}")

        def decide() -> Decision | str:
            as_of = self._log.tail.head
            member = self._log.state.member(self._channel, sender)
            if member is None or not member.is_present:
                return "no member"
            draft = said(content, channel=self._channel, sender=sender)
            return Decision([draft], Guard(as_of, keys))

        return await self.deciding.decide_again(decide)
