"""Groups by somebody with one token: odd ids, cursors and keys, and groups of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import yarl

from testkit.process import running
from testkit.talking import SETTINGS, bearer, url_of

LONGEST = "\U0001f600" * 128


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running(tmp_path, "serve", **SETTINGS) as process:
        yield url_of(process)


class Calls:
    """The calls of one user, with paths as they are."""

    def __init__(self, url: str, user: str) -> None:
        self._url = url
        self._user = user

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = bearer(self._user) | {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        address = yarl.URL(self._url + path, encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, address, data=data, headers=headers) as answer,
        ):
            found = await answer.json()
        found.pop("request_id", None)
        return answer.status, found

    async def create(self, **fields: Any) -> str:
        status, made = await self("POST", "/api/groups", {"name": "Club", **fields})
        assert status == 201
        return str(made["id"])


async def test_a_group_of_others_is_answered_as_one_that_does_not_exist(url: str) -> None:
    group = await Calls(url, "alice").create(members=["bob"])
    eve = Calls(url, "eve")
    calls: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("DELETE", "", None),
        ("GET", "/members", None),
        ("PUT", "/members/eve", None),
        ("PUT", "/members/bob", None),
        ("PUT", "/members/eve", {"role": "admin"}),
        ("PUT", "/members/eve", {"role": "member"}),
        ("DELETE", "/members/eve", None),
        ("DELETE", "/members/alice", None),
    ]
    for method, path, body in calls:
        answers = [
            await eve(method, f"/api/groups/{one}{path}", body)
            for one in (group, "0" * 32, "x", group.upper(), "%00", "0" * 33)
        ]
        assert answers == [answers[0]] * len(answers)
        assert (answers[0][0], answers[0][1]["code"]) == (403, "not_a_member")
    said = [
        await eve("POST", "/api/messages", {"channel": one, "content": "x"})
        for one in (f",g:{group}", ",g:", ",g:x", ",r:x", ",r:", f",g:{group}\n")
    ]
    assert said == [said[0]] * len(said)
    assert (said[0][0], said[0][1]["code"]) == (403, "not_a_member")


async def test_the_longest_user_id_is_a_member_like_others(url: str) -> None:
    alice, longest = Calls(url, "alice"), Calls(url, LONGEST)
    group = await alice.create()
    path = f"/api/groups/{group}/members/{quote(LONGEST)}"
    status, member = await alice("PUT", path, {"role": "admin"})
    assert (status, member["user"], member["role"]) == (200, LONGEST, "admin")
    status, page = await alice("GET", f"/api/groups/{group}/members?limit=1")
    after = quote(page["after"])
    status, page = await longest("GET", f"/api/groups/{group}/members?limit=1&after={after}")
    assert [one["user"] for one in page["members"]] == [LONGEST]
    body = {"channel": f",g:{group}", "content": "x", "client_id": "k"}
    assert (await longest("POST", "/api/messages", body))[0] == 201
    assert (await alice("DELETE", path))[0] == 200
    assert (await longest("POST", "/api/messages", body))[0] == 200
    assert (await longest("GET", f"/api/groups/{group}"))[0] == 403
    assert (await alice("PUT", f"{path}x"))[0] == 422


@pytest.mark.parametrize(
    ("after", "status", "found"),
    [
        ("ffffffffffffffff.x", 200, 0),
        ("8000000000000000.x", 200, 0),
        ("7fffffffffffffff.x", 200, 0),
        ("0000000000000000.", 200, 2),
        ("0000000000000000.%00", 200, 2),
        ("0000000000000000." + "x" * 4000, 200, 2),
        ("fffffffffffffffff.x", 422, 0),
        ("-000000000000001.x", 422, 0),
        (".", 422, 0),
        ("0000000000000000.%ff", 400, 0),
        ("0000000000000000.%ED%A0%80", 400, 0),
    ],
)
async def test_a_cursor_of_members_may_be_anything(
    url: str, after: str, status: int, found: int
) -> None:
    alice = Calls(url, "alice")
    group = await alice.create(members=["bob"])
    answer = await alice("GET", f"/api/groups/{group}/members?after={after}")
    assert (answer[0], len(answer[1].get("members", ()))) == (status, found)


async def test_the_admins_are_bounded_and_each_may_leave(url: str) -> None:
    alice = Calls(url, "alice")
    users = [f"u{at}" for at in range(99)]
    group = await alice.create(members=users)
    path = f"/api/groups/{group}/members"
    for user in users:
        assert (await alice("PUT", f"{path}/{user}", {"role": "admin"}))[0] == 200
    for _ in ("new", "a member"):
        status, problem = await alice("PUT", f"{path}/late", {"role": "admin"})
        assert (status, problem["errors"][0]["code"]) == (422, "too_many")
        assert (await alice("PUT", f"{path}/late"))[0] == 200
    assert (await Calls(url, "u5")("DELETE", f"{path}/u5"))[0] == 200
    assert (await alice("PUT", f"{path}/late", {"role": "admin"}))[0] == 200


async def test_roles_cannot_be_taken(url: str) -> None:
    alice, bob = Calls(url, "alice"), Calls(url, "bob")
    group = await alice.create(members=["bob"])
    path = f"/api/groups/{group}/members"
    await alice("PUT", f"{path}/bob", {"role": "moderator"})
    for method, user, body in (
        ("DELETE", "alice", None),
        ("PUT", "bob", {"role": "admin"}),
        ("PUT", "alice", {"role": "member"}),
        ("PUT", "carol", {"role": "admin"}),
        ("PUT", "carol", {"role": "moderator"}),
    ):
        status, problem = await bob(method, f"{path}/{user}", body)
        assert (status, problem["code"]) == (403, "not_an_admin")
