"""The calls on groups that the checks make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from chatsvc_conformance.context import Context
from chatsvc_conformance.http import Answer
from chatsvc_conformance.sockets import Frame, Socket
from chatsvc_conformance.tokens import User


async def create_group(context: Context, user: User, **fields: Any) -> Answer:
    """``POST /api/groups``."""
    return await context.api.call("POST", "/api/groups", token=user.token, json=fields)


async def create(
    context: Context, user: User, *members: str, name: str = "Club", **fields: Any
) -> Group:
    """A group of a user, and of others by their ids."""
    answer = await create_group(context, user, name=name, members=list(members), **fields)
    return Group(context, answer.expect(201))


class Group:
    """A group, as the user who created it had it.

    Args:
        created: its ``id`` and ``channel``, and what else the answer told.
    """

    def __init__(self, context: Context, created: Mapping[str, Any]) -> None:
        self.created = dict(created)
        self.id: str = created["id"]
        self.channel: str = created["channel"]
        self._context = context

    async def call(
        self, method: str, user: User, below: str = "", body: Any = None, **query: str
    ) -> Answer:
        """A call of a user on the group, or on what is below it."""
        path = f"/api/groups/{self.id}{below}"
        return await self._context.api.call(method, path, token=user.token, json=body, query=query)

    async def read(self, user: User) -> dict[str, Any]:
        """The group as a member has it."""
        group: dict[str, Any] = (await self.call("GET", user)).expect(200)
        return group

    async def put(self, user: User, member: str, role: str | None = None) -> Answer:
        """Let a user be a member, with a role if one is given."""
        body = None if role is None else {"role": role}
        return await self.call("PUT", user, f"/members/{quote(member, safe='')}", body)

    async def remove(self, user: User, member: str) -> Answer:
        """End a membership."""
        return await self.call("DELETE", user, f"/members/{quote(member, safe='')}")

    async def link(self, user: User, **terms: int) -> dict[str, Any]:
        """A new invite link."""
        link: dict[str, Any] = (await self.call("POST", user, "/links", terms or None)).expect(201)
        return link

    async def links(self, user: User) -> list[Any]:
        """The invite links that can be used."""
        links: list[Any] = (await self.call("GET", user, "/links")).expect(200)["links"]
        return links

    async def use(self, user: User, code: str) -> Answer:
        """Join by the code of an invite link, of whichever group."""
        path, body = "/api/groups/join", {"code": code}
        return await self._context.api.call("POST", path, token=user.token, json=body)

    async def ban(self, user: User, other: str, **terms: int) -> Answer:
        """Ban a user."""
        return await self.call("PUT", user, f"/bans/{quote(other, safe='')}", terms or None)

    async def roles(self, user: User) -> dict[str, str]:
        """Every member with the role; of a group of up to 100."""
        page = (await self.call("GET", user, "/members", limit="100")).expect(200)
        return {one["user"]: one["role"] for one in page["members"]}

    async def post(self, user: User, content: str, **more: Any) -> Answer:
        """Send a message to the group."""
        body = {"channel": self.channel, "content": content, **more}
        return await self._context.api.call("POST", "/api/messages", token=user.token, json=body)

    async def contents(self, user: User) -> list[str]:
        """What a user reads of its messages."""
        answer = await self._context.get(user, "/api/messages/get", channel=self.channel)
        return [message["content"] for message in answer.expect(200)["messages"]]

    def frames(self, socket: Socket) -> list[Frame]:
        """What a socket received of the group so far."""
        return [frame for frame in socket.frames if frame.get("channel") == self.channel]

    async def frame(self, socket: Socket, fits: Callable[[Frame], object], what: str) -> Frame:
        """The first frame of the group that fits."""
        return await socket.first(
            lambda frame: frame.get("channel") == self.channel and fits(frame), what
        )
