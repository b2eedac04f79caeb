"""Who leads a group, what each role may do, and the pages of the members."""

from __future__ import annotations

from typing import Any

from chatsvc_conformance.check import check
from chatsvc_conformance.checks.group_calls import create
from chatsvc_conformance.context import Context
from chatsvc_conformance.expect import expect, same
from chatsvc_conformance.tokens import fresh_name


@check("groups.members", "Roles", 'only `"after": null` is the end')
async def members(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    others = [fresh_name() for _ in range(4)]
    for one in others:
        (await group.put(alice, one)).expect(200)
    found: list[Any] = []
    after = ""
    for _ in range(20):
        page = (await group.call("GET", bob, "/members", limit="2", after=after)).expect(200)
        expect(len(page["members"]) <= 2, "a page must have at most `limit` members")
        found += page["members"]
        if (after := page["after"]) is None:
            break
        if len(found) == 2:  # who goes meanwhile must not move the others
            (await group.remove(alice, alice.id)).expect(200)
    same([one["user"] for one in found[2:]], others, "the members behind the first page")
    same({one["user"] for one in found[:2]}, {alice.id, bob.id}, "the members of the first page")
    joined = [one["joined"] for one in found]
    same(joined, sorted(joined), "the order of the joins")
    (await group.call("GET", bob, "/members", after="0" * 16)).problem(422)


@check(
    "groups.moderators",
    "Roles",
    "| remove and ban members | anybody | those with the role `member` | no |",
)
async def moderators(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group, dave = await create(context, alice, bob.id, carol.id), fresh_name()
    for answer in (await group.put(bob, dave), await group.remove(bob, carol.id)):
        same(answer.problem(403)["code"], "not_a_moderator", "the code for a member")
    (await group.put(alice, bob.id, "moderator")).expect(200)
    (await group.put(bob, dave)).expect(200)
    (await group.remove(bob, dave)).expect(200)
    (await group.put(alice, carol.id, "moderator")).expect(200)
    for answer in (await group.remove(bob, carol.id), await group.remove(bob, alice.id)):
        same(answer.problem(403)["code"], "not_an_admin", "the code for a moderator")
    roles = {alice.id: "admin", bob.id: "moderator", carol.id: "moderator"}
    same(await group.roles(alice), roles, "the members")


@check("groups.admins", "Roles", "| give and take roles | yes | no, but for stepping down | no |")
async def admins(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice, bob.id, carol.id)
    (await group.put(alice, bob.id, "moderator")).expect(200)
    for user in (bob, carol):
        for answer in (
            await group.put(user, user.id, "admin"),
            await group.put(user, alice.id, "member"),
            await group.call("PATCH", user, "", {"name": "x"}),
            await group.call("DELETE", user),
        ):
            same(answer.problem(403)["code"], "not_an_admin", "the code of the refusal")
    (await group.put(alice, carol.id, "admin")).expect(200)
    (await group.put(carol, alice.id, "member")).expect(200)
    roles = {alice.id: "member", bob.id: "moderator", carol.id: "admin"}
    same(await group.roles(bob), roles, "the members")


@check(
    "groups.last-admin", "Roles", "Who alone is one cannot become anything else: 409 `last_admin`"
)
async def last_admin(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    for role in ("member", "moderator"):
        problem = (await group.put(alice, alice.id, role)).problem(409)
        same(problem["code"], "last_admin", "the code of the refusal")
    same(await group.roles(bob), {alice.id: "admin", bob.id: "member"}, "the members")


@check("groups.successor", "Roles", "But the last admin may leave")
async def successor(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice)
    for user in (bob, carol):
        (await group.put(alice, user.id)).expect(200)
    (await group.put(alice, carol.id, "moderator")).expect(200)
    socket = await context.connect(bob)
    (await group.remove(alice, alice.id)).expect(200)
    same(await group.roles(bob), {bob.id: "member", carol.id: "admin"}, "the members")
    frame = await socket.of_type("membership")
    same((frame["change"], frame.get("promoted")), ("left", carol.id), "the record of the leaving")
    (await group.remove(carol, carol.id)).expect(200)
    same(await group.roles(bob), {bob.id: "admin"}, "the members after the second admin left")
