"""Records of groups and rooms as the log would have accepted them, with the rows they change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chatsvc.core.change import draft_change
from chatsvc.core.ids import STEP
from chatsvc.core.kinds import Kind
from chatsvc.core.membership import Channel, Filter, Member, StateChange
from chatsvc.core.message import draft_message
from chatsvc.core.record import Draft, Record, accept
from testkit.records import START

GROUP = ",g:team"
ROOM = ",r:lobby"


def at(number: int) -> int:
    """The id of the ``number``-th record of the log."""
    return START + number * STEP


def group_draft(
    content: str = "hello",
    *,
    channel: str = GROUP,
    to: Sequence[str] = (),
    sender: str = "alice",
    client_id: str | None = None,
) -> Draft:
    """A message to the members of a channel, or to those of ``to`` alone."""
    draft = draft_message(
        channel=channel,
        participants=(),
        sender=sender,
        content=content,
        origin="laptop",
        client_id=client_id,
    )
    return msgspec.structs.replace(draft, audience=tuple(sorted(to)))


def group_message(number: int, content: str | None = None, **options: Any) -> Record:
    """The ``number``-th of the log; see :func:`group_draft`."""
    text = f"message {number}" if content is None else content
    return accept(group_draft(text, **options), at(number))


def group_change(
    number: int,
    kind: str = "edit",
    *,
    channel: str = GROUP,
    to: Sequence[str] = (),
    sender: str = "alice",
    target: str = "",
    text: str = "x",
    members: Sequence[Member] = (),
    settings: Channel | None = None,
    filters: Sequence[Filter] = (),
) -> Record:
    """A change for the members of a channel, or for those of ``to`` alone, with rows of state."""
    state = None
    if members or settings is not None or filters:
        state = StateChange(tuple(members), settings, tuple(filters))
    draft = draft_change(
        Kind(name=kind, blockable=not (members or settings)),
        channel=channel,
        audience=tuple(sorted(to)),
        sender=sender,
        fields={"target": target, "text": text},
        target=target,
        state=state,
    )
    return accept(draft, at(number))


def joined(number: int, *users: str, channel: str = GROUP) -> Record:
    """The record by which users join; it is in their intervals."""
    members = [Member(user, at(number)) for user in users]
    return group_change(number, channel=channel, members=members, settings=Channel(len(users)))


def left(number: int, user: str, since: int, *, channel: str = GROUP) -> Record:
    """The record by which a user leaves who joined by the ``since``-th; it is in the interval."""
    member = Member(user, at(since), at(number))
    return group_change(number, channel=channel, members=[member], settings=Channel())
