"""Groups by their operations and over sockets, with both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatsvc.core.ids import now_ms
from testkit.client_ids import uuid7_at
from testkit.process import running
from testkit.talking import SETTINGS, talk, url_of
from tests.integration.support.group_calls import GroupCalls

By = Callable[[str], GroupCalls]


@pytest.fixture
def url(tmp_path: Path, store_settings: dict[str, str]) -> Iterator[str]:
    settings = {**SETTINGS, **store_settings, "MAX_GROUP_MEMBERS": "5", "MAX_GROUPS_PER_USER": "4"}
    with running(tmp_path, "serve", **settings) as process:
        yield url_of(process)


@pytest.fixture
def by(url: str) -> By:
    return lambda user: GroupCalls(url, user)


async def test_a_group_is_created_read_changed_and_deleted(by: By) -> None:
    alice, bob = by("alice"), by("bob")
    made = await alice.create("bob", "carol", name="Readers", avatar="book", history="from_join")
    group = made["id"]
    assert made["channel"] == f",g:{group}"
    assert (made["name"], made["avatar"], made["role"]) == ("Readers", "book", "admin")
    assert (made["member_count"], made["history"], made["join"]) == (3, "from_join", "invite")
    assert await bob.get(group) == made | {"role": "member"}
    changed = await alice.done("PATCH", f"/api/groups/{group}", {"name": "Writers"})
    assert changed == made | {"name": "Writers", "rev": changed["rev"]}
    assert changed["rev"] > made["rev"]
    assert await alice.done("PATCH", f"/api/groups/{group}", {"name": "Writers"}) == changed
    assert (await bob.done("GET", "/api/groups"))["groups"] == [changed | {"role": "member"}]
    assert await bob.refused("DELETE", f"/api/groups/{group}") == (403, "not_an_admin")
    deleted = await alice.done("DELETE", f"/api/groups/{group}")
    assert await alice.done("DELETE", f"/api/groups/{group}") == deleted
    for one in (alice, bob):
        assert await one.refused("GET", f"/api/groups/{group}") == (403, "not_a_member")
        assert (await one.done("GET", "/api/groups"))["groups"] == []
    assert (await bob.say(group, "x"))[0] == 403


async def test_members_write_and_read_and_who_is_no_member_does_not(by: By, url: str) -> None:
    alice, bob, eve = by("alice"), by("bob"), by("eve")
    group = (await alice.create("bob"))["id"]
    async with talk(url, "bob") as socket, talk(url, "eve") as other:
        status, sent = await alice.say(group, "hello")
        assert (status, sent["participants"], sent["channel"]) == (201, [], f",g:{group}")
        assert await socket.next("cursor") == sent
        await socket.put({"type": "send", "channel": f",g:{group}", "content": "hi", "ref": "r"})
        assert (await socket.next("cursor"))["type"] == "ack"
        await other.put({"type": "send", "channel": f",g:{group}", "content": "x", "ref": "r"})
        refused = await other.next("cursor")
        assert (refused["type"], refused["code"], refused["ref"]) == ("error", "not_a_member", "r")
    assert await alice.contents(group) == await bob.contents(group) == ["hello", "hi"]
    assert await eve.refused("GET", f"/api/messages?channel=,g:{group}") == (
        403,
        "not_a_participant",
    )
    for unknown in (group, "0" * 32, "no id"):
        status, problem = await eve.say(unknown, "x")
        assert (status, problem["code"]) == (403, "not_a_member")
        assert await eve.refused("GET", f"/api/groups/{unknown}") == (403, "not_a_member")
        assert await eve.refused("PUT", f"/api/groups/{unknown}/members/eve") == (
            403,
            "not_a_member",
        )


async def test_roles_say_who_may_do_what(by: By) -> None:
    alice, bob, carol = by("alice"), by("bob"), by("carol")
    group = (await alice.create("bob", "carol"))["id"]
    path = f"/api/groups/{group}"
    for method, where, body, code in (
        ("PATCH", path, {"name": "x"}, "not_an_admin"),
        ("DELETE", path, None, "not_an_admin"),
        ("PUT", f"{path}/members/dave", None, "not_a_moderator"),
        ("PUT", f"{path}/members/bob", {"role": "admin"}, "not_an_admin"),
        ("DELETE", f"{path}/members/carol", None, "not_a_moderator"),
    ):
        assert await bob.refused(method, where, body) == (403, code)
    assert (await alice.put(group, "bob", "moderator"))["role"] == "moderator"
    assert (await bob.put(group, "dave"))["role"] == "member"
    assert await bob.refused("PUT", f"{path}/members/carol", {"role": "moderator"}) == (
        403,
        "not_an_admin",
    )
    assert await bob.refused("DELETE", f"{path}/members/alice") == (403, "not_an_admin")
    await bob.remove(group, "dave")
    assert await alice.refused("PUT", f"{path}/members/alice", {"role": "member"}) == (
        409,
        "last_admin",
    )
    await alice.put(group, "carol", "admin")
    await carol.put(group, "alice", "member")
    assert await bob.roles(group) == {"alice": "member", "bob": "moderator", "carol": "admin"}


async def test_a_role_and_a_membership_that_are_there_already_are_a_success(by: By) -> None:
    alice = by("alice")
    made = await alice.create("bob")
    group = made["id"]
    before = await alice.put(group, "bob")
    assert before == {"user": "bob", "role": "member", "joined": made["rev"]}
    assert await alice.put(group, "bob", "member") == before
    assert (await alice.put(group, "bob", "moderator"))["joined"] == made["rev"]
    assert (await alice.put(group, "bob"))["role"] == "moderator"
    ended = await alice.remove(group, "bob")
    assert await alice.remove(group, "bob") == ended
    assert await alice.remove(group, "nobody") == {"id": None}


async def test_when_the_last_admin_leaves_the_senior_leads(by: By) -> None:
    alice, bob, carol = by("alice"), by("bob"), by("carol")
    group = (await alice.create())["id"]
    await alice.put(group, "bob")
    await alice.put(group, "carol", "moderator")
    await alice.put(group, "dave")
    left = await alice.remove(group, "alice")
    assert await alice.remove(group, "alice") == left
    assert await bob.roles(group) == {"bob": "member", "carol": "admin", "dave": "member"}
    await carol.remove(group, "carol")
    assert await bob.roles(group) == {"bob": "admin", "dave": "member"}
    await bob.remove(group, "bob")
    await by("dave").remove(group, "dave")
    assert await by("dave").refused("GET", f"/api/groups/{group}") == (403, "not_a_member")


async def test_who_is_removed_reads_what_was_sent_before_and_nothing_after(
    by: By, url: str
) -> None:
    alice, bob = by("alice"), by("bob")
    group = (await alice.create("bob"))["id"]
    await alice.say(group, "before")
    async with talk(url, "bob") as socket:
        await alice.remove(group, "bob")
        await alice.say(group, "after")
        frame = await socket.next("cursor")
        assert (frame["type"], frame["change"], frame["users"]) == (
            "membership",
            "removed",
            ["bob"],
        )
        assert await socket.ping() == []
    assert await bob.contents(group) == ["before"]
    status, problem = await bob.say(group, "x")
    assert (status, problem["code"]) == (403, "not_a_member")
    await alice.put(group, "bob")
    assert await bob.contents(group) == ["before", "after"]


async def test_who_joins_a_group_with_history_from_join_reads_what_follows(by: By) -> None:
    alice = by("alice")
    group = (await alice.create(history="from_join"))["id"]
    await alice.say(group, "before")
    await alice.put(group, "bob")
    await alice.say(group, "after")
    assert await by("bob").contents(group) == ["after"]


async def test_everybody_joins_an_open_group(by: By, url: str) -> None:
    alice = by("alice")
    group = (await alice.create(join="open"))["id"]
    async with talk(url, "alice") as socket:
        joined = await asyncio.gather(
            *(by(f"u{number}").put(group, f"u{number}") for number in range(4))
        )
        frames = 0
        users: list[str] = []
        while len(users) < 4:
            frame = await socket.next("cursor")
            assert (frame["type"], frame["change"]) == ("membership", "joined")
            users += frame["users"]
            frames += 1
    assert sorted(users) == ["u0", "u1", "u2", "u3"]
    assert len({one["joined"] for one in joined}) == frames
    assert await by("late").refused("PUT", f"/api/groups/{group}/members/late") == (
        409,
        "group_full",
    )
    await alice.done("PATCH", f"/api/groups/{group}", {"join": "invite"})
    assert await by("eve").refused("PUT", f"/api/groups/{group}/members/eve") == (
        403,
        "not_a_member",
    )


async def test_a_user_is_in_a_bounded_number_of_groups(by: By) -> None:
    alice, bob = by("alice"), by("bob")
    for _ in range(4):
        await alice.create()
    for call in (
        ("POST", "/api/groups", {"name": "x"}),
        ("POST", "/api/groups", {"name": "x", "members": ["alice"]}),
    ):
        one = alice if "members" not in call[2] else bob
        assert await one.refused(*call) == (409, "too_many_groups")
    group = (await bob.create())["id"]
    assert await bob.refused("PUT", f"/api/groups/{group}/members/alice") == (
        409,
        "too_many_groups",
    )
    first = (await alice.done("GET", "/api/groups"))["groups"][0]["id"]
    await alice.done("DELETE", f"/api/groups/{first}")
    await bob.put(group, "alice")


async def test_a_retry_creates_the_group_once_and_a_send_is_answered_after_a_removal(
    by: By,
) -> None:
    alice, bob = by("alice"), by("bob")
    body = {"name": "Club", "members": ["bob"], "client_id": uuid7_at(now_ms())}
    made = await alice.done("POST", "/api/groups", body)
    status, again = await alice.call("POST", "/api/groups", body)
    assert (status, again) == (200, made)
    assert await alice.refused("POST", "/api/groups", body | {"name": "Other"}) == (
        409,
        "client_id_conflict",
    )
    assert (await bob.create(client_id=body["client_id"]))["id"] != made["id"]
    key = uuid7_at(now_ms(), 2)
    _, sent = await bob.say(made["id"], "hello", client_id=key)
    await alice.remove(made["id"], "bob")
    assert await bob.say(made["id"], "hello", client_id=key) == (200, sent)
    assert (await bob.say(made["id"], "other", client_id=key))[0] == 409


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"name": ""}, "/name", "too_short"),
        ({"name": "x" * 101}, "/name", "too_long"),
        ({"name": "a\nb"}, "/name", "control_character"),
        ({"name": "x", "avatar": "y" * 1001}, "/avatar", "too_long"),
        ({"name": "x", "members": ["a,b"]}, "/members/0", "comma"),
        ({"name": "x", "members": [f"u{number}" for number in range(101)]}, "/members", "too_many"),
        ({"name": "x", "history": "none"}, "/history", "bad_value"),
        ({"name": "x", "client_id": ""}, "/client_id", "bad_client_id"),
    ],
)
async def test_a_field_that_breaks_a_rule_is_named(
    by: By, body: dict[str, object], pointer: str, code: str
) -> None:
    status, problem = await by("alice").call("POST", "/api/groups", body)
    assert status == 422
    (error,) = problem["errors"]
    assert (error["pointer"], error["code"]) == (pointer, code)
    assert (await by("alice").done("GET", "/api/groups"))["groups"] == []
