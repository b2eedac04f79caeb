"""How people get into a group, and are kept out: invite links, bans, and the socket's commands."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from chatsvc_conformance.check import check
from chatsvc_conformance.checks.group_calls import Group, create
from chatsvc_conformance.context import Context
from chatsvc_conformance.expect import expect, same, shown
from chatsvc_conformance.sockets import Frame
from chatsvc_conformance.tokens import User, fresh_name

_LINKS: Final = "Invite links"
_BANS: Final = "Bans"
_COMMANDS: Final = "From the client"


@check("groups.link", _LINKS, "Whoever has the code of a link becomes a member by it")
async def link(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice)
    made = await group.link(alice)
    want = {"created_by": alice.id, "expires_at": None, "uses_left": None}
    same({name: made.get(name) for name in want}, want, "the link")
    joined = (await group.use(bob, made["code"])).expect(200)
    same(joined, await group.read(bob), "the answer to who joins")
    same((joined["role"], joined["member_count"]), ("member", 2), "role and member_count")
    same(await group.roles(alice), {alice.id: "admin", bob.id: "member"}, "the members")
    same((await group.use(bob, made["code"])).expect(200), joined, "the answer to the repeat")


@check("groups.link-uses", _LINKS, "for so many who join, no more, whatever comes at once")
async def link_uses(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice)
    for _ in range(3):
        code = (await group.link(alice, max_uses=1))["code"]
        both = await asyncio.gather(*(group.use(user, code) for user in (bob, carol)))
        same(sorted(one.status for one in both), [200, 404], "the answers to two at once")
        joined, other = (bob, carol) if both[0].status == 200 else (carol, bob)
        roles = {alice.id: "admin", joined.id: "member"}
        same(await group.roles(alice), roles, "the members")
        (await group.use(other, code)).problem(404)
        same(await group.links(alice), [], "the links that can be used")
        (await group.remove(alice, joined.id)).expect(200)


@check("groups.link-expires", _LINKS, "with `expires_in` (seconds, at most 366 days) until then")
async def link_expires(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice)
    made = await group.link(alice, expires_in=1)
    expect(made["expires_at"], f"a link with expires_in must have expires_at: {shown(made)}")
    await context.until(lambda: group.links(alice), lambda links: links == [], "a link must end")
    (await group.use(bob, made["code"])).problem(404)
    same(await group.roles(alice), {alice.id: "admin"}, "the members")


@check("groups.link-revoked", _LINKS, "A link is good until it is revoked")
async def link_revoked(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice)
    made, kept = await group.link(alice), await group.link(alice)
    (await group.use(bob, made["code"])).expect(200)
    for _ in range(2):
        (await group.call("DELETE", alice, f"/links/{made['code']}")).expect(200)
    (await group.use(carol, made["code"])).problem(404)
    same(await group.links(alice), [kept], "the links that can be used")
    same(await group.roles(bob), {alice.id: "admin", bob.id: "member"}, "the members")
    (await group.use(carol, kept["code"])).expect(200)


@check(
    "groups.link-unusable",
    _LINKS,
    "A code that is unknown, over, used up or revoked is 404 `no_such_link`",
)
async def link_unusable(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group, ended = await create(context, alice), await create(context, alice)
    used, revoked, of_ended = [
        (await one.link(alice, max_uses=1))["code"] for one in (group, group, ended)
    ]
    (await group.use(bob, used)).expect(200)
    (await group.call("DELETE", alice, f"/links/{revoked}")).expect(200)
    (await ended.call("DELETE", alice)).expect(200)
    unknown = ("0" * len(used), group.id + "0" * (len(used) - len(group.id)), used[:-1], "x", "")
    problems = []
    for code in (used, revoked, of_ended, *unknown):
        problem = (await group.use(carol, code)).problem(404)
        problem.pop("request_id")
        problems.append(problem)
    same(problems[0]["code"], "no_such_link", "the code of the refusal")
    for problem in problems:
        same(problem, problems[0], "the refusal, beside that of a link that is used up")


@check(
    "groups.link-leaders",
    "Roles",
    "| add and invite members, make and revoke invite links | yes | yes | no |",
)
async def link_leaders(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice, bob.id)
    kept = await group.link(alice)
    for user, code in ((bob, "not_a_moderator"), (carol, "not_a_member")):
        for method, below in (
            ("POST", "/links"),
            ("GET", "/links"),
            ("DELETE", f"/links/{kept['code']}"),
        ):
            problem = (await group.call(method, user, below)).problem(403)
            same(problem["code"], code, f"the code of the refusal of {method}")
    same(await group.links(alice), [kept], "the links")
    (await group.put(alice, bob.id, "moderator")).expect(200)
    made = await group.link(bob)
    same(await group.links(bob), [kept, made], "the links, as a moderator has them")
    (await group.call("DELETE", bob, f"/links/{kept['code']}")).expect(200)
    same(await group.links(alice), [made], "the links that are left")


@check(
    "groups.link-secret",
    _LINKS,
    "A code is a secret: no frame and no page has it but the list of those who lead",
)
async def link_secret(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice, bob.id)
    sockets = [await context.connect(user) for user in (alice, bob)]
    code = (await group.link(alice))["code"]
    (await group.use(carol, code)).expect(200)
    (await group.post(carol, "hello")).expect(201)
    for socket in sockets:
        await socket.messages(group.channel, 1)
        expect(code not in str(group.frames(socket)), "no frame must have the code")
    for user in (alice, bob, carol):
        changes = await context.get(user, "/api/changes", channel=group.channel)
        pages = [changes.expect(200), await group.read(user)]
        pages.append((await group.call("GET", user, "/members")).expect(200))
        expect(code not in str(pages), "no page must have the code")


@check("groups.banned", _BANS, "its user cannot be added, join, or use a link (403 `banned`)")
async def banned(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id, join="open")
    code = (await group.link(alice))["code"]
    want = {"user": bob.id, "expires_at": None}
    for _ in range(2):
        same((await group.ban(alice, bob.id)).expect(200), want, "the ban")
    same(await group.roles(alice), {alice.id: "admin"}, "the members")
    await _kept_out(group, alice, bob, code)
    socket = await context.connect(bob)
    for names in ({"id": group.id}, {"code": code}):
        answer = await socket.ask({"type": "join", **names})
        same((answer["type"], answer.get("code")), ("error", "banned"), "the answer to join")
    same(await group.roles(alice), {alice.id: "admin"}, "the members")


@check("groups.ban-of-others", _BANS, "Anybody can be banned, whether a member or not")
async def ban_of_others(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice, carol.id, join="open")
    code = (await group.link(alice))["code"]
    member, leader = await context.connect(carol), await context.connect(alice)
    (await group.ban(alice, bob.id)).expect(200)
    (await group.post(alice, "after")).expect(201)
    await member.messages(group.channel, 1)
    await group.frame(leader, _bans, "frame of the ban")
    same([one["type"] for one in group.frames(member)], ["message"], "what a member receives")
    await _kept_out(group, alice, bob, code)


@check("groups.ban-of-leaders", _BANS, "who leads, by admins alone")
async def ban_of_leaders(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group, dave = await create(context, alice, bob.id, carol.id), fresh_name()
    same((await group.ban(carol, dave)).problem(403)["code"], "not_a_moderator", "the code")
    for user in (bob, carol):
        (await group.put(alice, user.id, "moderator")).expect(200)
    for other in (alice, carol):
        problem = (await group.ban(bob, other.id)).problem(403)
        same(problem["code"], "not_an_admin", "the code for a moderator")
    (await group.put(alice, dave)).expect(200)
    (await group.ban(bob, dave)).expect(200)
    (await group.ban(alice, carol.id)).expect(200)
    same(await group.roles(alice), {alice.id: "admin", bob.id: "moderator"}, "the members")


@check("groups.ban-pages", _BANS, "**Who is banned reads no message of the group any more**")
async def ban_pages(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    sent = (await group.post(alice, "while a member")).expect(201)
    (await group.remove(alice, bob.id)).expect(200)
    (await group.put(alice, bob.id)).expect(200)
    (await group.post(alice, "in the second membership")).expect(201)
    same(len(await group.contents(bob)), 2, "the number of messages before the ban")
    (await group.ban(alice, bob.id)).expect(200)
    (await group.post(alice, "after")).expect(201)
    same(await group.contents(bob), [], "what who is banned reads")
    (await context.get(bob, f"/api/messages/{sent['id']}")).problem(404)
    (await group.call("GET", bob)).problem(403)
    for path, name in (("/api/messages", "messages"), ("/api/conversations", "conversations")):
        page = (await context.get(bob, path, limit="100")).expect(200)
        channels = [one["channel"] for one in page[name]]
        expect(group.channel not in channels, f"{path} must have nothing of the group")
    changes = (await context.get(bob, "/api/changes", channel=group.channel)).expect(200)
    messages = [one for one in changes["frames"] if one["type"] == "message"]
    same(messages, [], "the messages among the records that are read")


@check("groups.ban-replay", _BANS, "in no page and no replay")
async def ban_replay(context: Context) -> None:
    alice, bob = await context.users(2)
    group, beside = await create(context, alice, bob.id), await create(context, alice, bob.id)
    before = await context.connect(bob)
    cursor = before.hello["cursor"]
    await before.close()
    (await group.post(alice, "while a member")).expect(201)
    (await group.ban(alice, bob.id)).expect(200)
    (await group.post(alice, "after")).expect(201)
    (await beside.post(alice, "beside")).expect(201)
    socket = await context.connect(bob, since=cursor)
    await socket.of_type("caught_up")
    same(len(socket.got(beside.channel)), 1, "the number of messages of another group")
    replayed = [one for one in group.frames(socket) if not _bans(one)]
    same(replayed, [], "what is replayed of the group, but for the ban")


@check("groups.ban-frames", _BANS, "it receives the record of the ban and nothing after it")
async def ban_frames(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice, bob.id, carol.id)
    beside = await create(context, alice, bob.id)
    socket, member = await context.connect(bob), await context.connect(carol)
    (await group.ban(alice, bob.id)).expect(200)
    (await group.post(alice, "after")).expect(201)
    (await beside.post(alice, "beside")).expect(201)
    await socket.messages(beside.channel, 1)
    got = group.frames(socket)
    found = [(one["type"], one.get("change"), one.get("users")) for one in got]
    same(found, [("membership", "banned", [bob.id])], "what who is banned receives")
    same((got[0]["sender"], got[0]["member_count"]), (alice.id, 2), "sender and member_count")
    same(await group.frame(member, _bans, "frame of the ban"), got[0], "what a member receives")


@check("groups.ban-ended", _BANS, "When the ban is over, or `DELETE` has ended it")
async def ban_ended(context: Context) -> None:
    alice, bob = await context.users(2)
    for history, want in (("all", ["before", "after"]), ("from_join", [])):
        group = await create(context, alice, bob.id, history=history)
        (await group.post(alice, "before")).expect(201)
        (await group.ban(alice, bob.id)).expect(200)
        (await group.post(alice, "after")).expect(201)
        for _ in range(2):
            (await group.call("DELETE", alice, f"/bans/{bob.id}")).expect(200)
        same(await group.roles(alice), {alice.id: "admin"}, "the members after the ban")
        same(await group.contents(bob), [], "what is read after the ban")
        (await group.put(alice, bob.id)).expect(200)
        same(await group.contents(bob), want, f"what is read with history {history!r}")


@check("groups.ban-expires", _BANS, "for good or for `expires_in` seconds")
async def ban_expires(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    ban = (await group.ban(alice, bob.id, expires_in=1)).expect(200)
    expect(ban["expires_at"], f"a ban with expires_in must have expires_at: {shown(ban)}")

    async def added() -> int:
        return (await group.put(alice, bob.id)).status

    await context.until(added, lambda status: status == 200, "a ban must end")
    same(await group.roles(alice), {alice.id: "admin", bob.id: "member"}, "the members")


@check(
    "groups.socket-join",
    _COMMANDS,
    "| `join` | `id` of an open group, or `code` of an [invite link](#invite-links), `ref`? | "
    "`joined` or `error` |",
)
async def socket_join(context: Context) -> None:
    alice, bob = await context.users(2)
    for policy in ("open", "invite"):
        group = await create(context, alice, join=policy)
        names = (
            {"id": group.id} if policy == "open" else {"code": (await group.link(alice))["code"]}
        )
        socket = await context.connect(bob)
        want = {"type": "joined", "id": group.id, "channel": group.channel, "role": "member"}
        for _ in range(2):
            answer = await socket.ask({"type": "join", **names})
            same({name: answer.get(name) for name in want}, want, "the answer to join")
            same(answer["name"], group.created["name"], "the name of the group")
        same(await group.roles(alice), {alice.id: "admin", bob.id: "member"}, "the members")
        (await group.post(bob, "hello")).expect(201)


@check(
    "groups.socket-leave", _COMMANDS, "| `leave` | `id` of a group, `ref`? | `left` or `error` |"
)
async def socket_leave(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    leader, socket = await context.connect(alice), await context.connect(bob)
    left = await socket.ask({"type": "leave", "id": group.id})
    record = await group.frame(leader, lambda frame: frame.get("change") == "left", "frame")
    same((left["type"], left.get("id")), ("left", record["id"]), "the answer to leave")
    same(await group.roles(alice), {alice.id: "admin"}, "the members")
    (await group.post(bob, "late")).problem(403)


@check("groups.socket-refused", _COMMANDS, "is repeated in the answer")
async def socket_refused(context: Context) -> None:
    alice, bob = await context.users(2)
    group, unknown = await create(context, alice), "0" * 32
    code = (await group.link(alice))["code"]
    socket = await context.connect(bob)
    commands: tuple[tuple[Frame, str], ...] = (
        ({"type": "join"}, "one_of"),
        ({"type": "join", "id": group.id, "code": code}, "one_of"),
        ({"type": "join", "code": "0" * len(code)}, "no_such_link"),
        ({"type": "join", "id": unknown}, "not_a_member"),
        ({"type": "join", "id": group.id}, "not_a_member"),
        ({"type": "leave", "id": unknown}, "not_a_member"),
        ({"type": "leave", "id": group.id}, "not_a_member"),
    )
    for frame, refusal in commands:
        answer = await socket.ask(frame)
        found = answer["type"], answer.get("code")
        same(found, ("error", refusal), f"the answer to {shown(frame)}")
    await socket.alive()
    same(await group.roles(alice), {alice.id: "admin"}, "the members")


async def _kept_out(group: Group, leader: User, user: User, code: str) -> None:
    """Require that a user becomes no member, by none of the ways into an open group."""
    for answer in (
        await group.put(user, user.id),
        await group.put(leader, user.id),
        await group.put(leader, user.id, "moderator"),
        await group.use(user, code),
    ):
        same(answer.problem(403)["code"], "banned", f"the code of the refusal of {answer.called}")


def _bans(frame: dict[str, Any]) -> bool:
    return (frame["type"], frame.get("change")) == ("membership", "banned")
