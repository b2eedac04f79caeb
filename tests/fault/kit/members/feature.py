"""Groups as a feature would decide them, whose records can be told apart by their content."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from chatsvc.core.change import draft_change
from chatsvc.core.kinds import Kind, Kinds
from chatsvc.core.membership import (
    THIS_RECORD,
    Channel,
    Filter,
    Member,
    StateChange,
    personal_channel,
)
from chatsvc.core.message import MESSAGE, draft_message
from chatsvc.core.participants import channel_key
from chatsvc.core.record import Draft
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.guards import Guard
from chatsvc.log.merging import Merged, Merging
from testkit.group_drafts import group_key, member_key

MEMBER: Final = Kind(name="member", blockable=False)
READ: Final = Kind(name="read", latest=True)
EDIT: Final = Kind(name="edit")
BLOCK: Final = Kind(name="block")
OTHERS: Final = ("reaction", "pin", "call")
"""Kinds of which nothing is known but the names."""
KINDS: Final = Kinds([MESSAGE, MEMBER, EDIT, READ, BLOCK, *(Kind(name=one) for one in OTHERS)])


async def _at_once(_attempt: int) -> None:
    """Decide again without a pause."""


class Groups:
    """What users do in groups; each record has the next of ``contents``."""

    def __init__(self, log: MessageLog, next_content: Callable[[], str]) -> None:
        self._log = log
        self._next = next_content
        self.deciding = Deciding(log, pause=_at_once)
        self.merging = Merging(self.deciding)

    def present(self, channel: str, user: str) -> Member | None:
        """The membership of a user that goes on."""
        known = self._log.state.channel(channel)
        member = self._log.state.member(channel, user)
        if member is None or not member.is_present or (known is not None and known.dissolved):
            return None
        return member

    async def join(self, channel: str, user: str) -> None:
        """Decided together with others that wait."""
        await self.merging.decide(
            group_key(channel), "join", user, lambda users: self._join_all(channel, users)
        )

    def _join_all(self, channel: str, users: Sequence[str]) -> Merged[str]:
        as_of, known = self._log.tail.head, self._log.state.channel(channel)
        if known is not None and known.dissolved:
            return Merged(None, ["dissolved"] * len(users))
        new = [one for one in dict.fromkeys(users) if self.present(channel, one) is None]
        answers: list[str | Exception | None] = [None if one in new else "member" for one in users]
        if not new:
            return Merged(None, answers)
        rows = [Member(one, THIS_RECORD, visible_from=THIS_RECORD) for one in new]
        keys = (group_key(channel), *(member_key(one, channel) for one in new))
        draft = self._member_change(channel, new[0], rows, keys)
        return Merged(Decision([draft], Guard(as_of, keys)), answers)

    async def leave(self, channel: str, user: str) -> None:
        """The record is the last that the user gets."""
        await self._end(channel, user, user, named=False)

    async def remove(self, channel: str, user: str, by: str, *, named: bool) -> None:
        """Another one ends the membership, and the user is told by a second record.

        Args:
            named: whether the record is for the two alone, as in a large group.
        """
        await self._end(channel, user, by, named=named)

    async def _end(self, channel: str, user: str, by: str, *, named: bool) -> None:
        def decide() -> Decision | None:
            as_of, member = self._log.tail.head, self.present(channel, user)
            if member is None or (by != user and self.present(channel, by) is None):
                return None
            ended = msgspec.structs.replace(member, left=THIS_RECORD)
            keys = (member_key(user, channel), group_key(channel))
            draft = self._member_change(channel, by, [ended], keys)
            if named:
                audience = tuple(sorted({user, by}))
                draft = msgspec.structs.replace(draft, audience=audience)
            drafts = [draft] if by == user else [draft, self._to_self(user, by)]
            return Decision(drafts, Guard(as_of, keys[:1] if by == user else keys))

        await self.deciding.decide_again(decide)

    async def dissolve(self, channel: str) -> None:
        """Every membership ends."""

        def decide() -> Decision | None:
            as_of, known = self._log.tail.head, self._log.state.channel(channel)
            if known is None or known.dissolved:
                return None
            state = msgspec.structs.replace(known, dissolved=THIS_RECORD)
            keys = (group_key(channel),)
            draft = self._member_change(channel, "alice", [], keys, settings=state)
            return Decision([draft], Guard(as_of, keys))

        await self.deciding.decide_again(decide)

    async def say(self, channel: str, sender: str) -> None:
        """A message to the members."""
        await self._as_member(
            channel,
            sender,
            lambda content: draft_message(
                channel=channel, participants=(), sender=sender, content=content, origin="x"
            ),
        )

    async def change(
        self, channel: str, sender: str, kind: Kind, *, to: Sequence[str] = (), text: str = "[]"
    ) -> None:
        """A change for the members, or for those whom it names."""
        await self._as_member(
            channel,
            sender,
            lambda content: draft_change(
                kind,
                channel=channel,
                audience=tuple(sorted({sender, *to})) if to else (),
                sender=sender,
                fields={"content": content, "text": text},
                target=sender if kind.latest else "",
            ),
        )

    async def _as_member(self, channel: str, sender: str, draft: Callable[[str], Draft]) -> None:
        keys = (member_key(sender, channel), f"s/{channel}")

        def decide() -> Decision | None:
            as_of = self._log.tail.head
            if self.present(channel, sender) is None:
                return None
            return Decision([draft(self._next())], Guard(as_of, keys))

        await self.deciding.decide_again(decide)

    async def say_to_set(self, people: tuple[str, ...], text: str | None) -> None:
        """A message to a set of participants, or a change with rows."""
        channel, sender, content = channel_key(people), people[0], self._next()
        if text is None:
            draft = draft_message(
                channel=channel, participants=people, sender=sender, content=content, origin="x"
            )
        else:
            fields: dict[str, Any] = {"content": content, "text": text}
            draft = draft_change(
                EDIT, channel=channel, audience=people, sender=sender, fields=fields
            )
        await self._log.append(draft)

    async def block(self, user: str, other: str, *, ends: bool) -> None:
        """A row of filters, in the user's own channel."""
        since = 1 if ends else THIS_RECORD
        row = Filter(user, "block", other, since, THIS_RECORD if ends else 0)
        draft = self._to_self(user, user)
        await self._log.append(msgspec.structs.replace(draft, state=StateChange(filters=(row,))))

    def _to_self(self, user: str, sender: str) -> Draft:
        return draft_change(
            BLOCK,
            channel=personal_channel(user),
            audience=(user,),
            sender=sender,
            fields={"content": self._next()},
        )

    def _member_change(
        self,
        channel: str,
        sender: str,
        rows: Sequence[Member],
        keys: tuple[str, ...],
        *,
        settings: Channel | None = None,
    ) -> Draft:
        draft = draft_change(
            MEMBER,
            channel=channel,
            audience=(),
            sender=sender,
            fields={"content": self._next()},
            state=StateChange(tuple(rows), settings),
        )
        return msgspec.structs.replace(draft, touches=keys)


def content_of(body: bytes) -> str:
    """What a record is told apart by, whatever its id."""
    return str(json.loads(body)["content"])
