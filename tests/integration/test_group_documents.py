"""What ``/openapi.json`` says of groups, and what the service answers."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from testkit.process import running
from testkit.talking import SETTINGS, url_of
from tests.integration.support.group_calls import GroupCalls


async def test_the_rate_of_new_groups_is_bounded_and_documented(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    settings = {**SETTINGS, **store_settings, "MAX_NEW_CONVERSATIONS_PER_HOUR": "1"}
    with running(tmp_path, "serve", **settings) as process:
        url = url_of(process)
        alice = GroupCalls(url, "alice")
        await alice.create()
        refused = await alice.refused("POST", "/api/groups", {"name": "Club"})
        assert refused == (429, "too_many_conversations")
        async with aiohttp.ClientSession() as session, session.get(f"{url}/openapi.json") as answer:
            paths = (await answer.json())["paths"]
    for path, method in (
        ("/api/groups", "post"),
        ("/api/groups/{id}", "patch"),
        ("/api/groups/{id}", "delete"),
        ("/api/groups/{id}/members/{user}", "put"),
        ("/api/groups/{id}/members/{user}", "delete"),
    ):
        assert "429" in paths[path][method]["responses"], (path, method)
