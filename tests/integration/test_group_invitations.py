"""Invitations to groups, with both stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.process import running
from testkit.talking import SETTINGS, talk, url_of
from tests.integration.support.group_calls import GroupCalls

By = Callable[[str], GroupCalls]


@pytest.fixture
def url(tmp_path: Path, store_settings: dict[str, str]) -> Iterator[str]:
    with running(tmp_path, "serve", **{**SETTINGS, **store_settings}) as process:
        yield url_of(process)


@pytest.fixture
def by(url: str) -> By:
    return lambda user: GroupCalls(url, user)


def path_of(group: str, user: str) -> str:
    return f"/api/groups/{group}/invitations/{user}"


async def invited(one: GroupCalls) -> list[dict[str, Any]]:
    answer = await one.done("GET", "/api/groups/invitations")
    found: list[dict[str, Any]] = answer["invitations"]
    return found


async def test_who_is_invited_is_told_and_accepts(by: By, url: str) -> None:
    alice, bob = by("alice"), by("bob")
    made = await alice.create("carol", name="Readers", avatar="book")
    group = made["id"]
    async with talk(url, "bob") as socket, talk(url, "carol") as member:
        cursor = socket.hello["cursor"]
        assert await alice.done("PUT", path_of(group, "bob")) == {"user": "bob"}
        assert await alice.done("PUT", path_of(group, "bob")) == {"user": "bob"}
        frame = await socket.next("cursor")
        assert (frame["type"], frame["change"], frame["sender"]) == (
            "invitation",
            "invited",
            "alice",
        )
        assert (frame["group"], frame["name"], frame["avatar"]) == (group, "Readers", "book")
        assert await member.ping() == []
    async with talk(url, "bob", since=cursor) as device:
        assert await device.next("cursor") == frame
    assert await invited(bob) == [
        {"id": group, "channel": made["channel"], "name": "Readers", "avatar": "book"}
    ]
    assert await bob.refused("GET", f"/api/groups/{group}") == (403, "not_a_member")
    assert (await bob.say(group, "x"))[0] == 403
    assert (await alice.get(group))["member_count"] == 2
    assert (await bob.put(group, "bob"))["role"] == "member"
    assert await invited(bob) == []
    assert await alice.roles(group) == {"alice": "admin", "carol": "member", "bob": "member"}
    await bob.remove(group, "bob")
    assert await bob.refused("PUT", f"/api/groups/{group}/members/bob") == (403, "not_a_member")


async def test_an_invitation_is_declined_or_taken_back(by: By, url: str) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create())["id"]
    for one, change in ((bob, "declined"), (alice, "withdrawn")):
        async with talk(url, "bob") as socket:
            await alice.done("PUT", path_of(group, "bob"))
            for _ in range(2):
                await one.done("DELETE", path_of(group, "bob"))
            frames = [await socket.next("cursor") for _ in range(2)]
            assert [frame["change"] for frame in frames] == ["invited", change]
            assert await socket.ping() == []
        assert await invited(bob) == []
        assert await bob.refused("PUT", f"/api/groups/{group}/members/bob") == (403, "not_a_member")


async def test_who_was_a_member_is_invited_again(by: By) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create("bob"))["id"]
    await alice.say(group, "before")
    await alice.remove(group, "bob")
    await alice.done("PUT", path_of(group, "bob"))
    assert [one["id"] for one in await invited(bob)] == [group]
    assert await bob.contents(group) == ["before"]
    await bob.put(group, "bob")
    assert await invited(bob) == []
    await alice.done("DELETE", f"/api/groups/{group}")
    assert await invited(bob) == []


async def test_a_link_and_an_addition_answer_an_invitation_too(by: By) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create())["id"]
    link = await alice.done("POST", f"/api/groups/{group}/links")
    await alice.done("PUT", path_of(group, "bob"))
    await bob.done("POST", "/api/groups/join", {"code": link["code"]})
    assert await invited(bob) == []
    await bob.remove(group, "bob")
    await alice.done("PUT", path_of(group, "bob"))
    await alice.put(group, "bob", "moderator")
    assert await invited(bob) == []
    await bob.remove(group, "bob")
    assert await invited(bob) == []


async def test_who_may_invite_and_whom(by: By) -> None:
    alice, bob, eve = by("alice"), by("bob"), by("eve")
    group = (await alice.create("bob"))["id"]
    assert await bob.refused("PUT", path_of(group, "carol")) == (403, "not_a_moderator")
    assert await eve.refused("PUT", path_of(group, "carol")) == (403, "not_a_member")
    assert await eve.refused("DELETE", path_of(group, "carol")) == (403, "not_a_member")
    assert await eve.refused("DELETE", path_of(group, "eve")) == (403, "not_a_member")
    await alice.done("PUT", path_of(group, "bob"))  # a member already
    assert await invited(bob) == []
    await alice.done("PUT", f"/api/groups/{group}/bans/dave")
    assert await alice.refused("PUT", path_of(group, "dave")) == (403, "banned")
    await alice.done("PUT", path_of(group, "erin"))
    await alice.done("PUT", f"/api/groups/{group}/bans/erin")
    assert await invited(by("erin")) == []
    erin = f"/api/groups/{group}/members/erin"
    assert await by("erin").refused("PUT", erin) == (403, "not_a_member")
    assert await alice.refused("PUT", erin) == (403, "banned")


async def test_a_user_has_a_bounded_number_of_invitations(by: By) -> None:
    bob = by("bob")
    for number in range(100):
        host = by(f"host{number}")
        group = (await host.create())["id"]
        await host.done("PUT", path_of(group, "bob"))
    alice = by("alice")
    group = (await alice.create())["id"]
    assert await alice.refused("PUT", path_of(group, "bob")) == (409, "too_many_invitations")
    await bob.done("DELETE", path_of((await invited(bob))[0]["id"], "bob"))
    await alice.done("PUT", path_of(group, "bob"))
    assert len(await invited(bob)) == 100
