"""Invite links of groups, with both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.ids import now_ms
from testkit.process import running
from testkit.talking import SETTINGS, talk, url_of
from testkit.waiting import until
from tests.integration.support.group_calls import GroupCalls

By = Callable[[str], GroupCalls]


@pytest.fixture
def url(tmp_path: Path, store_settings: dict[str, str]) -> Iterator[str]:
    settings = {**SETTINGS, **store_settings, "MAX_GROUP_MEMBERS": "6"}
    with running(tmp_path, "serve", **settings) as process:
        yield url_of(process)


@pytest.fixture
def by(url: str) -> By:
    return lambda user: GroupCalls(url, user)


async def link_of(one: GroupCalls, group: str, **terms: int) -> dict[str, Any]:
    return await one.done("POST", f"/api/groups/{group}/links", terms or None)


async def test_whoever_has_the_code_joins(by: By) -> None:
    alice, bob = by("alice"), by("bob")
    made = await alice.create()
    link = await link_of(alice, made["id"])
    assert link == {
        "code": link["code"],
        "created_by": "alice",
        "expires_at": None,
        "uses_left": None,
    }
    joined = await bob.done("POST", "/api/groups/join", {"code": link["code"]})
    assert (joined["id"], joined["role"], joined["member_count"]) == (made["id"], "member", 2)
    assert await bob.done("POST", "/api/groups/join", {"code": link["code"]}) == joined
    assert await alice.roles(made["id"]) == {"alice": "admin", "bob": "member"}
    await bob.remove(made["id"], "bob")
    await bob.done("POST", "/api/groups/join", {"code": link["code"]})


async def test_a_link_is_good_for_so_many(by: By) -> None:
    alice = by("alice")
    group = (await alice.create())["id"]
    link = await link_of(alice, group, max_uses=3)
    names = [f"u{number}" for number in range(5)]
    calls = [by(name).call("POST", "/api/groups/join", {"code": link["code"]}) for name in names]
    answers = await asyncio.gather(*calls)
    assert sorted(status for status, _ in answers) == [200, 200, 200, 404, 404]
    assert {answer["code"] for status, answer in answers if status == 404} == {"no_such_link"}
    assert len(await alice.roles(group)) == 4
    assert (await alice.done("GET", f"/api/groups/{group}/links"))["links"] == []


async def test_codes_that_cannot_be_used_get_one_answer(by: By) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create())["id"]
    link = await link_of(alice, group, max_uses=1)
    for code in ("", "x", link["code"][:-1], link["code"][:-1] + "x", group + "0" * 32, "0" * 64):
        assert await bob.refused("POST", "/api/groups/join", {"code": code}) == (
            404,
            "no_such_link",
        )
    await alice.done("DELETE", f"/api/groups/{group}/links/{link['code']}")
    await alice.done("DELETE", f"/api/groups/{group}/links/{link['code']}")
    assert await bob.refused("POST", "/api/groups/join", {"code": link["code"]}) == (
        404,
        "no_such_link",
    )
    other = await link_of(alice, group)
    await alice.done("DELETE", f"/api/groups/{group}")
    assert await bob.refused("POST", "/api/groups/join", {"code": other["code"]}) == (
        404,
        "no_such_link",
    )


async def test_a_link_ends(by: By, url: str) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create())["id"]
    link = await link_of(alice, group, expires_in=1)
    assert link["expires_at"] is not None
    ends = now_ms() + 1000  # of the same clock, and not before the link's
    await until(lambda: now_ms() >= ends)
    assert (await alice.done("GET", f"/api/groups/{group}/links"))["links"] == []
    assert await bob.refused("POST", "/api/groups/join", {"code": link["code"]}) == (
        404,
        "no_such_link",
    )


async def test_links_are_for_those_who_lead(by: By, url: str) -> None:
    alice, bob, carol = by("alice"), by("bob"), by("carol")
    group = (await alice.create("bob", "carol"))["id"]
    await alice.put(group, "bob", "moderator")
    path = f"/api/groups/{group}/links"
    async with talk(url, "bob") as leader, talk(url, "carol") as member:
        link = await link_of(bob, group, max_uses=5)
        frame = await leader.next("cursor")
        assert (frame["type"], frame["change"], frame["sender"]) == ("group", "links", "bob")
        assert link["code"] not in str(frame)
        assert await member.ping() == []
    assert (await alice.done("GET", path))["links"] == [link]
    for method, where in (("POST", path), ("GET", path), ("DELETE", f"{path}/{link['code']}")):
        assert await carol.refused(method, where) == (403, "not_a_moderator")
        assert await by("eve").refused(method, where) == (403, "not_a_member")


async def test_what_a_link_may_be_like_is_bounded(by: By) -> None:
    alice = by("alice")
    group = (await alice.create())["id"]
    path = f"/api/groups/{group}/links"
    for body, pointer in (
        ({"expires_in": 0}, "/expires_in"),
        ({"expires_in": 366 * 86_400 + 1}, "/expires_in"),
        ({"max_uses": 0}, "/max_uses"),
        ({"max_uses": 1_000_001}, "/max_uses"),
    ):
        status, problem = await alice.call("POST", path, body)
        assert (status, problem["errors"][0]["pointer"]) == (422, pointer)
    for _ in range(10):
        await link_of(alice, group)
    assert await alice.refused("POST", path) == (409, "too_many_links")


async def test_a_full_group_takes_nobody_by_a_link(by: By) -> None:
    alice = by("alice")
    group = (await alice.create("b", "c", "d", "e"))["id"]
    link = await link_of(alice, group, max_uses=9)
    await by("f").done("POST", "/api/groups/join", {"code": link["code"]})
    assert await by("g").refused("POST", "/api/groups/join", {"code": link["code"]}) == (
        409,
        "group_full",
    )
    (left,) = (await alice.done("GET", f"/api/groups/{group}/links"))["links"]
    assert left["uses_left"] == 8


async def test_groups_are_joined_and_left_by_socket(by: By, url: str) -> None:
    alice = by("alice")
    made = await alice.create(join="open", name="Readers")
    group = made["id"]
    link = await link_of(alice, group)
    async with talk(url, "bob") as bob:
        for command in ({"id": group}, {"code": link["code"]}):
            await bob.put({"type": "join", "ref": "j", **command})
            answer = await bob.next("cursor", "membership")
            assert answer == {
                "type": "joined",
                "id": group,
                "channel": made["channel"],
                "name": "Readers",
                "role": "member",
                "ref": "j",
            }
        await bob.put({"type": "leave", "ref": "l", "id": group})
        left = await bob.next("cursor", "membership")
        assert (left["type"], left["ref"]) == ("left", "l")
        await bob.put({"type": "leave", "ref": "l", "id": group})
        assert await bob.next("cursor", "membership") == left
        for command, code in (
            ({"type": "join"}, "one_of"),
            ({"type": "join", "id": group, "code": link["code"]}, "one_of"),
            ({"type": "join", "id": "0" * 32}, "not_a_member"),
            ({"type": "join", "code": "0" * 64}, "no_such_link"),
            ({"type": "leave", "id": "x"}, "not_a_member"),
        ):
            await bob.put(command)
            assert (await bob.next("cursor", "membership"))["code"] == code
    assert await alice.roles(group) == {"alice": "admin"}
