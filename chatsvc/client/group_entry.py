"""Who comes into a group, and who does not: invitations, invite links and bans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from chatsvc.client.answers import Answer, read_struct
from chatsvc.client.arguments import check_positive, path_segment
from chatsvc.client.group_answers import (
    Group,
    GroupBan,
    GroupInvitation,
    InviteLink,
    known,
    read_ban,
    read_group,
    read_invitation,
    read_invitations,
    read_link,
    read_links,
)


class Call(Protocol):
    """Makes a request, again where that can help."""

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: object = None,
        once: bool = False,
    ) -> Answer:
        """Return the answer, which is a success.

        With ``once`` it is not made again where it may have been carried out.
        """


class EntryCalls:
    """The part of :class:`~chatsvc.client.groups.GroupCalls` about who comes into a group.

    Args:
        call: makes the requests.
    """

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create_link(
        self, group_id: str, *, expires_in: int | None = None, max_uses: int | None = None
    ) -> InviteLink:
        """Create an invite link, as an admin or a moderator; whoever has its code may join.

        It is the one call that is not safe to repeat: each that is carried out makes another
        link. So it is tried again only where the server certainly made none: no connection
        could be made, or the server refused it for now. Where the answer was lost it raises,
        and there may be a link more, which :meth:`links` lists and :meth:`revoke_link` ends.

        Args:
            group_id: the group.
            expires_in: seconds until it ends; without, it does not end by itself.
            max_uses: how many may join by it; without, any number.

        Raises:
            ApiError: as every call; ``too_many_links`` where the group has as many as may be.
                Where it is :attr:`~chatsvc.client.errors.ApiError.passing`, the link may be
                there.
            Unreachable: as every call. The link may be there.
            TokenUnavailable: as every call.
            ValueError: ``expires_in`` or ``max_uses`` is less than 1.
        """
        check_positive(expires_in=expires_in, max_uses=max_uses)
        given = {"expires_in": expires_in, "max_uses": max_uses}
        path = group_path(group_id, "links")
        answer = await self._call("POST", path, body=_given(given), once=True)
        return read_struct(answer, read_link)

    async def links(self, group_id: str) -> list[InviteLink]:
        """Fetch the links that can be used, the oldest first, as an admin or a moderator."""
        answer = await self._call("GET", group_path(group_id, "links"))
        return known(read_struct(answer, read_links).links, read_link)

    async def revoke_link(self, group_id: str, code: str) -> None:
        """End a link, as an admin or a moderator; one that is not there is no error."""
        await self._call("DELETE", group_path(group_id, "links", code))

    async def join(self, code: str) -> Group:
        """Become a member by the code of a link; return the group.

        Who is a member already stays one, and uses nothing of the link. An open group needs no
        code: see :meth:`~chatsvc.client.groups.GroupCalls.put`.

        Raises:
            ApiError: as every call; ``no_such_link`` where the code cannot be used,
                ``banned`` where the caller may not join, ``group_full``, ``too_many_groups``.
            Unreachable, TokenUnavailable: as every call.
            ValueError: not valid Unicode.
        """
        answer = await self._call("POST", "api/groups/join", body={"code": code})
        return read_struct(answer, read_group)

    async def invite(self, group_id: str, user: str) -> None:
        """Invite a user, as an admin or a moderator; who is a member stays one.

        The user accepts by :meth:`~chatsvc.client.groups.GroupCalls.put` of themselves, and
        declines by :meth:`end_invitation`.

        Raises:
            ApiError: as every call; ``banned``, ``too_many_invitations``.
            Unreachable, TokenUnavailable: as every call.
            ValueError: not valid Unicode.
        """
        await self._call("PUT", group_path(group_id, "invitations", user))

    async def end_invitation(self, group_id: str, user: str) -> None:
        """Decline one's own invitation, or take back another's as who leads the group.

        One that is not there is no error.
        """
        await self._call("DELETE", group_path(group_id, "invitations", user))

    async def invitations(self) -> list[GroupInvitation]:
        """Fetch the groups that the caller is invited to."""
        answer = await self._call("GET", "api/groups/invitations")
        return known(read_struct(answer, read_invitations).invitations, read_invitation)

    async def ban(self, group_id: str, user: str, *, expires_in: int | None = None) -> GroupBan:
        """Ban a user, a member or not; a membership ends, and the user reads nothing any more.

        A repeat replaces the ban: its time counts from then on.

        Args:
            group_id: the group, which the caller leads; who leads is banned by admins alone.
            user: whom.
            expires_in: for how many seconds; without, for good.

        Raises:
            ApiError, Unreachable, TokenUnavailable: as every call.
            ValueError: not valid Unicode, or ``expires_in`` is less than 1.
        """
        check_positive(expires_in=expires_in)
        path = group_path(group_id, "bans", user)
        answer = await self._call("PUT", path, body=_given({"expires_in": expires_in}))
        return read_struct(answer, read_ban)

    async def unban(self, group_id: str, user: str) -> None:
        """End a ban, as an admin or a moderator; where there is none, that is no error.

        The user may become a member again, and is none by that.
        """
        await self._call("DELETE", group_path(group_id, "bans", user))


def group_path(group_id: str, *names: str) -> str:
    """Return the path of a group, or of what is below it."""
    return "/".join(["api/groups", path_segment(group_id), *map(path_segment, names)])


def _given(fields: Mapping[str, int | None]) -> dict[str, int] | None:
    """Return the fields that are given; ``None`` for none, which is a request without a body."""
    return {name: value for name, value in fields.items() if value is not None} or None
