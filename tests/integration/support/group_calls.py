"""Calls of the group operations, as users of the public interface make them."""

from __future__ import annotations

from typing import Any

import aiohttp

from testkit.talking import bearer


class GroupCalls:
    """The calls of one user against a service."""

    def __init__(self, url: str, user: str) -> None:
        self.url = url
        self.user = user

    async def call(
        self, method: str, path: str, body: Any = None, **query: str
    ) -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                f"{self.url}{path}",
                json=body,
                params=query,
                headers=bearer(self.user),
            ) as answer,
        ):
            return answer.status, await answer.json()

    async def done(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        """The answer to a call that succeeds."""
        status, answer = await self.call(method, path, body, **query)
        assert status in (200, 201), answer
        return answer

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """The status and the code of a call that is refused."""
        status, answer = await self.call(method, path, body)
        return status, answer.get("code", "")

    async def create(self, *members: str, name: str = "Club", **more: Any) -> dict[str, Any]:
        body = {"name": name, "members": list(members), **more}
        return await self.done("POST", "/api/groups", body)

    async def get(self, group: str) -> dict[str, Any]:
        return await self.done("GET", f"/api/groups/{group}")

    async def put(self, group: str, user: str, role: str | None = None) -> dict[str, Any]:
        body = None if role is None else {"role": role}
        return await self.done("PUT", f"/api/groups/{group}/members/{user}", body)

    async def remove(self, group: str, user: str) -> dict[str, Any]:
        return await self.done("DELETE", f"/api/groups/{group}/members/{user}")

    async def roles(self, group: str) -> dict[str, str]:
        """Every member with the role, in the order in which they joined."""
        found: dict[str, str] = {}
        after = ""
        while after is not None:
            page = await self.done("GET", f"/api/groups/{group}/members", after=after, limit="2")
            found |= {one["user"]: one["role"] for one in page["members"]}
            after = page["after"]
        return found

    async def say(self, group: str, content: str, **more: Any) -> tuple[int, dict[str, Any]]:
        body = {"channel": f",g:{group}", "content": content, **more}
        return await self.call("POST", "/api/messages", body)

    async def contents(self, group: str) -> list[str]:
        page = await self.done("GET", "/api/messages", channel=f",g:{group}")
        return [one["content"] for one in page["messages"]]
