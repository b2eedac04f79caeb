"""What a conversation holds, asked over HTTP."""

from __future__ import annotations

from typing import Any

import aiohttp

from testkit.talking import bearer


async def history(url: str, user: str, *participants: str) -> list[dict[str, Any]]:
    query = {"participants": ",".join(participants), "limit": "1000"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url + "/api/messages/get", params=query, headers=bearer(user)) as answer,
    ):
        assert answer.status == 200
        return list((await answer.json())["messages"])
