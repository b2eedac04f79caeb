"""Groups: the calls of the HTTP interface about them, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from chatsvc.client.answers import read_struct
from chatsvc.client.arguments import check_client_id, user_list
from chatsvc.client.group_answers import (
    Group,
    GroupMember,
    GroupPage,
    MemberPage,
    known,
    read_done,
    read_group,
    read_groups,
    read_member,
    read_members,
)
from chatsvc.client.group_entry import Call, EntryCalls, group_path
from chatsvc.wire.protocol import Hello


class _New(msgspec.Struct, omit_defaults=True):
    name: str
    members: list[str]
    client_id: str
    avatar: str = ""
    history: str | None = None
    join: str | None = None


class GroupCalls(EntryCalls):
    """What the caller does with groups: ``api.groups``.

    Each call is tried again as those of :class:`~chatsvc.client.http.ChatApi` are, and raises
    what they raise. A repeat changes nothing, unless others changed the same since: then the
    later of the two stands. The exception is :meth:`create_link`, which is tried again only
    where no link was made. An :class:`~chatsvc.client.errors.ApiError` has the code
    ``not_a_member`` where the caller is not in the group, or there is none.

    ::

        group = await api.groups.create("Readers", ["bob"])
        await api.groups.put(group.id, "carol", role="moderator")
        await api.post(channel=group.channel, content="Hello, readers!")
        link = await api.groups.create_link(group.id, expires_in=86_400)

    Args:
        call: makes the requests.
        mint: makes client ids.
    """

    def __init__(self, call: Call, mint: Callable[[], str]) -> None:
        super().__init__(call)
        self._mint = mint

    async def create(
        self,
        name: str,
        members: Iterable[str] = (),
        *,
        avatar: str = "",
        history: str | None = None,
        join: str | None = None,
        client_id: str | None = None,
    ) -> Group:
        """Create a group, whose admin is the caller.

        Args:
            name: 1 to 100 characters.
            members: the others.
            avatar: an address or a name of the application's.
            history: what a new member may read: ``all`` (the default) or ``from_join``.
            join: who becomes a member: who is added, ``invite`` (the default), or everybody
                who knows its id, ``open``.
            client_id: 1 to 64 printable ASCII characters; repeated with the same, it is the
                same group. Without it, a fresh UUIDv7 of the server's time.

        Raises:
            ApiError, Unreachable, TokenUnavailable: as every call.
            ValueError: not valid Unicode, or a ``client_id`` out of its bounds.
            TypeError: ``name``, ``avatar`` or a user id is not a string.
        """
        _check_strings(name=name, avatar=avatar)
        check_client_id(client_id)
        users = user_list(members, "members")
        new = _New(name, users, client_id or self._mint(), avatar, history, join)
        return read_struct(await self._call("POST", "api/groups", body=new), read_group)

    async def get(self, group_id: str) -> Group:
        """Fetch a group that the caller is in."""
        return read_struct(await self._call("GET", group_path(group_id)), read_group)

    async def page(self, *, limit: int = 100, after: str | None = None) -> GroupPage:
        """Fetch a page of the groups that the caller is in.

        Args:
            limit: how many at most.
            after: that of the page before.
        """
        query = {"limit": str(limit), "after": after}
        page = read_struct(await self._call("GET", "api/groups", query=query), read_groups)
        return GroupPage(known(page.groups, read_group), page.after)

    async def update(
        self,
        group_id: str,
        *,
        name: str | None = None,
        avatar: str | None = None,
        history: str | None = None,
        join: str | None = None,
    ) -> Group:
        """Change what an admin may change of a group; what is left out stays as it is."""
        given = {"name": name, "avatar": avatar, "history": history, "join": join}
        body = {key: value for key, value in given.items() if value is not None}
        return read_struct(await self._call("PATCH", group_path(group_id), body=body), read_group)

    async def delete(self, group_id: str) -> str | None:
        """Delete a group, as an admin; return the id of the record that did it.

        Who was a member goes on reading what was sent until then.
        """
        return read_struct(await self._call("DELETE", group_path(group_id)), read_done).id

    async def members(
        self, group_id: str, *, limit: int = 100, after: str | None = None
    ) -> MemberPage:
        """Fetch a page of the members.

        Args:
            group_id: the group.
            limit: how many at most.
            after: that of the page before.
        """
        query = {"limit": str(limit), "after": after}
        answer = await self._call("GET", group_path(group_id, "members"), query=query)
        page = read_struct(answer, read_members)
        return MemberPage(known(page.members, read_member), page.after)

    async def put(self, group_id: str, user: str, role: str | None = None) -> GroupMember:
        """Let a user be a member, with a role if one is given; return the membership.

        Without ``role``, who is a member already keeps the one that there is.

        An open group (``join="open"``) is joined so: by ``put`` with one's own user id, and
        without ``role``. By a code one joins with :meth:`join`.
        """
        body = None if role is None else {"role": role}
        answer = await self._call("PUT", group_path(group_id, "members", user), body=body)
        return read_struct(answer, read_member)

    async def remove(self, group_id: str, user: str) -> str | None:
        """End a membership; return the id of the record that did it, if it is known.

        To remove oneself is to leave. When the last admin leaves, the server makes another
        member one.
        """
        answer = await self._call("DELETE", group_path(group_id, "members", user))
        return read_struct(answer, read_done).id


class Connection(Protocol):
    """What knows who the caller is, once it was connected."""

    @property
    def hello(self) -> Hello | None:
        """The server's greeting on the last connection."""

    async def wait_connected(self) -> Hello:
        """Return once there is a connection."""


class ClientGroups(GroupCalls):
    """What the user of a :class:`~chatsvc.client.client.ChatClient` does with groups.

    Args:
        calls: those of its API.
        connection: says who the user is.
    """

    def __init__(self, calls: GroupCalls, connection: Connection) -> None:
        super().__init__(calls._call, calls._mint)
        self._connection = connection

    async def leave(self, group_id: str) -> str | None:
        """Leave a group, as :meth:`remove` with oneself.

        It waits for the first connection, which says who the user is.

        Raises:
            ApiError, Unreachable, TokenUnavailable: as every call.
            GaveUp, ClientClosed: there was no connection, and there will be none.
            RuntimeError: the client was not entered.
        """
        hello = self._connection.hello or await self._connection.wait_connected()
        return await self.remove(group_id, hello.user)


def _check_strings(**values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, not {type(value).__name__}")
