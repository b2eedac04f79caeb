"""Bans from groups, with both stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatsvc.core.ids import now_ms
from testkit.process import running
from testkit.talking import SETTINGS, talk, url_of
from testkit.waiting import until
from tests.integration.support.group_calls import GroupCalls

By = Callable[[str], GroupCalls]


@pytest.fixture
def url(tmp_path: Path, store_settings: dict[str, str]) -> Iterator[str]:
    with running(tmp_path, "serve", **{**SETTINGS, **store_settings}) as process:
        yield url_of(process)


@pytest.fixture
def by(url: str) -> By:
    return lambda user: GroupCalls(url, user)


async def test_who_is_banned_is_no_member_reads_nothing_and_cannot_come_back(
    by: By, url: str
) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create("bob", join="open"))["id"]
    link = await alice.done("POST", f"/api/groups/{group}/links")
    await alice.say(group, "first")
    await bob.remove(group, "bob")
    await bob.put(group, "bob")
    _, sent = await alice.say(group, "second")
    assert await bob.contents(group) == ["first", "second"]
    path = f"/api/groups/{group}/bans/bob"
    async with talk(url, "bob") as socket:
        ban = await alice.done("PUT", path)
        assert ban == {"user": "bob", "expires_at": None}
        frame = await socket.next("cursor")
        assert (frame["type"], frame["change"], frame["users"]) == ("membership", "banned", ["bob"])
        await alice.say(group, "third")
        assert await socket.ping() == []
    assert await alice.done("PUT", path) == ban
    assert await bob.contents(group) == []
    assert (await bob.done("GET", "/api/messages"))["messages"] == []
    assert (await bob.done("GET", "/api/conversations"))["conversations"] == []
    assert await bob.refused("GET", f"/api/messages/{sent['id']}") == (404, "not_found")
    member = f"/api/groups/{group}/members/bob"
    assert await bob.refused("PUT", member) == (403, "banned")
    assert await alice.refused("PUT", member) == (403, "banned")
    assert await alice.refused("PUT", member, {"role": "admin"}) == (403, "banned")
    assert await bob.refused("POST", "/api/groups/join", {"code": link["code"]}) == (403, "banned")
    assert await alice.roles(group) == {"alice": "admin"}
    await alice.done("DELETE", path)
    await alice.done("DELETE", path)
    await bob.put(group, "bob")
    assert await bob.contents(group) == ["first", "second", "third"]


async def test_who_never_was_a_member_can_be_banned(by: By, url: str) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create("carol", join="open"))["id"]
    async with talk(url, "carol") as member:
        await alice.done("PUT", f"/api/groups/{group}/bans/bob")
        assert await member.ping() == []
    assert await bob.refused("PUT", f"/api/groups/{group}/members/bob") == (403, "banned")
    assert (await alice.get(group))["member_count"] == 2
    await alice.done("DELETE", f"/api/groups/{group}/bans/bob")
    await bob.put(group, "bob")
    assert (await alice.get(group))["member_count"] == 3


async def test_a_ban_ends(by: By) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create("bob", join="open"))["id"]
    ban = await alice.done("PUT", f"/api/groups/{group}/bans/bob", {"expires_in": 1})
    assert ban["expires_at"] is not None
    ends = now_ms() + 1000
    assert await bob.refused("PUT", f"/api/groups/{group}/members/bob") == (403, "banned")
    await until(lambda: now_ms() >= ends)
    await bob.put(group, "bob")


async def test_who_leads_is_banned_by_admins_alone(by: By) -> None:
    alice, bob, carol = by("alice"), by("bob"), by("carol")
    group = (await alice.create("bob", "carol", "dave"))["id"]
    await alice.put(group, "bob", "moderator")
    await alice.put(group, "carol", "admin")
    path = f"/api/groups/{group}/bans"
    assert await by("dave").refused("PUT", f"{path}/eve") == (403, "not_a_moderator")
    assert await by("eve").refused("PUT", f"{path}/dave") == (403, "not_a_member")
    assert await bob.refused("PUT", f"{path}/carol") == (403, "not_an_admin")
    assert await bob.refused("PUT", f"{path}/bob") == (409, "cannot_ban_self")
    await carol.done("PUT", f"{path}/alice")
    await carol.done("PUT", f"{path}/bob")
    assert await carol.roles(group) == {"carol": "admin", "dave": "member"}
    assert await alice.refused("GET", f"/api/groups/{group}") == (403, "not_a_member")


@pytest.mark.parametrize("seconds", [0, 10 * 366 * 86_400 + 1])
async def test_the_time_of_a_ban_is_bounded(by: By, seconds: int) -> None:
    alice = by("alice")
    group = (await alice.create("bob"))["id"]
    path = f"/api/groups/{group}/bans/bob"
    status, problem = await alice.call("PUT", path, {"expires_in": seconds})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/expires_in")
    assert await alice.roles(group) == {"alice": "admin", "bob": "member"}
