"""A feature of the tests with members: clubs that people join, leave and speak in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatsvc.api.access import USER, Caller
from chatsvc.api.command import Command, CommandReply, Connection
from chatsvc.api.feature import Feature
from chatsvc.api.operation import Operation, Reply
from chatsvc.app.features import FeatureParts
from chatsvc.core.errors import not_a_participant
from chatsvc.core.ids import format_id
from chatsvc.log.base import Appended
from chatsvc.storage.history.repeats import Repeats
from testkit.group_drafts import MEMBER, Group
from tests.integration.support.extended_service import ExtendedService

Outcome = list[Appended] | str


class MemberFrame(msgspec.Struct, tag="member", kw_only=True):
    """Who is a member of a club has changed."""

    id: str
    created_at: str
    member_count: int
    channel: str
    sender: str
    users: list[str]


class ClubRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Do something in a club."""

    channel: str
    content: str = ""
    client_id: str | None = None


class Done(msgspec.Struct, kw_only=True):
    """What it came to: its record and the id of that, or why there is none."""

    id: str = ""
    answer: str = ""
    record: dict[str, Any] = {}


class ClubJoin(msgspec.Struct, tag="club_join", forbid_unknown_fields=True, kw_only=True):
    """Join a club."""

    channel: str
    ref: str | None = None


class ClubJoined(msgspec.Struct, tag="club_joined", kw_only=True):
    """What it came to."""

    id: str
    ref: str | None = None


def clubs_feature(parts: FeatureParts) -> Feature:
    """Return the feature."""

    def group(channel: str) -> Group:
        repeats = Repeats(parts.log, parts.history, parts.history.records)
        return Group(parts.log, channel, capacity=1000, merging=parts.merging, repeats=repeats)

    calls: dict[str, Callable[[Caller, ClubRequest], Awaitable[Outcome]]] = {
        "join": lambda caller, request: group(request.channel).join(caller.user, request.client_id),
        "leave": lambda caller, request: group(request.channel).leave(caller.user),
        "say": lambda caller, request: group(request.channel).say(caller.user, request.content),
    }

    def join(connection: Connection, request: ClubJoin) -> asyncio.Future[Outcome]:
        return asyncio.ensure_future(group(request.channel).join(connection.user))

    return Feature(
        name="clubs",
        kinds=(MEMBER,),
        frames=(MemberFrame,),
        operations=tuple(_operation(name, call) for name, call in calls.items()),
        commands=(
            Command(
                request=ClubJoin,
                answers=(ClubJoined,),
                handler=join,
                reply=lambda outcome, ref: CommandReply(ClubJoined(id=_done(outcome).id, ref=ref)),
            ),
        ),
    )


def _operation(
    name: str, call: Callable[[Caller, ClubRequest], Awaitable[Outcome]]
) -> Operation:  # fmt: skip
    async def handle(caller: Caller, request: ClubRequest) -> Reply:
        done = _done(await call(caller, request))
        if done.answer == "no member":
            raise not_a_participant("/channel")
        return Reply(201 if done.id else 200, done)

    return Operation(
        name=f"{name}_club",
        method="POST",
        path=f"/api/clubs/{name}",
        summary=f"{name.title()} in a club",
        description="Of the tests.",
        access=USER,
        request=ClubRequest,
        responses={201: ("Accepted.", Done), 200: ("Nothing to do.", Done)},
        handler=handle,
        tag="clubs",
        example={"channel": ",g:team"},
    )


def _done(outcome: Outcome) -> Done:
    if isinstance(outcome, str):
        return Done(answer=outcome)
    return Done(id=format_id(outcome[0].id), record=msgspec.json.decode(outcome[0].body))


class ClubService(ExtendedService):
    """A service with clubs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
        super().__init__(folder, monkeypatch, clubs_feature, **settings)
