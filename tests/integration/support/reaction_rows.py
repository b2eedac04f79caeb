"""The feature of the tests, whole: people react to messages, and see who did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from chatsvc.api.access import USER, Caller
from chatsvc.api.conversation_access import named_by_key
from chatsvc.api.feature import Feature
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.change import draft_change
from chatsvc.core.ids import format_id
from chatsvc.core.kinds import Kind
from chatsvc.core.projection import Column, Projection, Put, Remove, RowChange
from chatsvc.core.record import Record
from chatsvc.log.base import LogAppender
from chatsvc.storage.projections.reader import RowReader

REACTION: Final = Kind(name="reaction")


class ReactionFrame(msgspec.Struct, tag="reaction", kw_only=True):
    """Somebody reacts to something, or no longer does."""

    id: str
    created_at: str
    channel: str
    sender: str
    emoji: str
    message: str = ""
    on: bool = True


def _fold(record: Record) -> Iterator[RowChange]:
    frame = msgspec.json.decode(record.body, type=ReactionFrame)
    if not frame.message:
        return
    key = frame.message, frame.sender, frame.emoji
    yield Put(key, {"at": frame.created_at}) if frame.on else Remove(key)


REACTIONS: Final = Projection(
    name="reactions",
    version=1,
    kinds=(REACTION.name,),
    key=(Column("message", "text"), Column("user", "text"), Column("emoji", "text")),
    columns=(Column("at", "text"),),
    fold=_fold,
)


class React(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """React to a message of a conversation, or take that back."""

    channel: str
    message: str
    emoji: str
    on: bool = True


class ReactionsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who reacted to a message. ``overlaid``: with what is not stored yet."""

    channel: str
    message: str
    overlaid: bool = True
    as_of: int = 0


class Reaction(msgspec.Struct, kw_only=True):
    """One of them."""

    user: str
    emoji: str
    rev: str
    at: str


class Reactions(msgspec.Struct, kw_only=True):
    """Those of a message, and the position to which they are folded."""

    reactions: list[Reaction]
    as_of: str


class Reacted(msgspec.Struct, kw_only=True):
    """It was accepted."""

    id: str


def reactions_feature(log: LogAppender, rows: RowReader) -> Feature:
    """Return the feature."""
    return Feature(
        name="reactions",
        kinds=(REACTION,),
        frames=(ReactionFrame,),
        projections=(REACTIONS,),
        operations=(_reacting(log), _listing(rows)),
    )


def _reacting(log: LogAppender) -> Operation:
    async def react(caller: Caller, request: React) -> Reply:
        channel = named_by_key(caller.user, request.channel).channel
        fields = {"message": request.message, "emoji": request.emoji, "on": request.on}
        people = tuple(channel.split(","))
        draft = draft_change(
            REACTION, channel=channel, audience=people, sender=caller.user, fields=fields
        )
        done = await log.append(draft)
        return Reply(201, Reacted(id=format_id(done.id)))

    return Operation(
        name="react",
        method="POST",
        path="/api/reactions",
        summary="React",
        access=USER,
        request=React,
        responses={201: ("It was accepted.", Reacted)},
        handler=react,
        tag="reactions",
    )


def _listing(rows: RowReader) -> Operation:
    async def read(caller: Caller, request: ReactionsRequest) -> Reply:
        channel = named_by_key(caller.user, request.channel).channel
        prefix, user = (request.message,), caller.user
        if request.overlaid:
            found = await rows.page_overlaid("reactions", prefix, reader=user, channel=channel)
        else:
            found = await rows.page("reactions", prefix, reader=user, as_of=request.as_of)
        listed = [
            Reaction(
                user=str(row.key[1]),
                emoji=str(row.key[2]),
                rev=format_id(row.rev),
                at=str(row.values["at"]),
            )
            for row in found.rows
        ]
        return Reply(200, Reactions(reactions=listed, as_of=format_id(found.position)))

    return Operation(
        name="list_reactions",
        method="GET",
        path="/api/reactions",
        summary="Who reacted",
        access=USER,
        request=ReactionsRequest,
        responses={200: ("They are here.", Reactions)},
        handler=read,
        tag="reactions",
    )
