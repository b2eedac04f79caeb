"""The socket commands of groups: ``join`` and ``leave``."""

from __future__ import annotations

import asyncio

import msgspec

from chatsvc.api.command import Command, CommandReply, Connection
from chatsvc.core.errors import Invalid
from chatsvc.core.ids import format_id
from chatsvc.features.groups.links import GroupLinks
from chatsvc.features.groups.members import GroupMembers
from chatsvc.features.groups.model import EXAMPLE_ID, GROUP_ID, LINK_CODE
from chatsvc.features.groups.roster import GroupView
from chatsvc.features.groups.service import GroupService, channel_of, id_of


class Join(msgspec.Struct, tag="join", forbid_unknown_fields=True, kw_only=True, gc=False):
    """Join an open group by its id, or any by the code of an invite link.

    Answered by ``joined`` or ``error`` with the same ``ref``.
    """

    id: str | None = None
    code: str | None = None
    ref: str | None = None


class Joined(msgspec.Struct, tag="joined", omit_defaults=True, kw_only=True):
    """The user is a member of the group."""

    id: str
    channel: str
    name: str
    role: str
    ref: str | None = None


class Leave(msgspec.Struct, tag="leave", forbid_unknown_fields=True, kw_only=True, gc=False):
    """Leave a group; answered by ``left`` or ``error`` with the same ``ref``."""

    id: str
    ref: str | None = None


class Left(msgspec.Struct, tag="left", omit_defaults=True, kw_only=True):
    """The user is not a member any more; ``id`` is that of the record that says so."""

    id: str
    ref: str | None = None


def commands(
    service: GroupService, members: GroupMembers, links: GroupLinks
) -> tuple[Command, ...]:
    """Return the commands."""
    return (_join(service, members, links), _leave(members))


def _join(service: GroupService, members: GroupMembers, links: GroupLinks) -> Command:
    async def join(user: str, request: Join) -> GroupView:
        if (request.id is None) is (request.code is None):
            raise Invalid.at("/id", "one_of", "exactly one of id and code must be given")
        if request.code is not None:
            channel = await links.join(user, request.code)
        else:
            channel = channel_of(request.id or "")
            await members.put(channel, user, user, None)
        return service.get(user, channel)

    def handle(connection: Connection, request: Join) -> asyncio.Future[GroupView]:
        return asyncio.ensure_future(join(connection.user, request))

    def reply(view: GroupView, ref: str | None) -> CommandReply:
        return CommandReply(
            Joined(
                id=id_of(view.channel),
                channel=view.channel,
                name=view.settings.name,
                role=view.role,
                ref=ref,
            )
        )

    return Command(
        request=Join,
        answers=(Joined,),
        handler=handle,
        reply=reply,
        units=1,
        bounds={"id": GROUP_ID, "code": LINK_CODE},
        example={"type": "join", "id": EXAMPLE_ID},
    )


def _leave(members: GroupMembers) -> Command:
    def handle(connection: Connection, request: Leave) -> asyncio.Future[int]:
        channel = channel_of(request.id)
        return asyncio.ensure_future(members.remove(channel, connection.user, connection.user))

    def reply(record_id: int, ref: str | None) -> CommandReply:
        return CommandReply(Left(id=format_id(record_id), ref=ref))

    return Command(
        request=Leave,
        answers=(Left,),
        handler=handle,
        reply=reply,
        units=1,
        bounds={"id": GROUP_ID},
        example={"type": "leave", "id": EXAMPLE_ID},
    )
