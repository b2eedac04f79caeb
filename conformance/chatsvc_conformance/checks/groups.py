"""Groups: what their members, those who lead them and everybody else may do and read."""

from __future__ import annotations

from typing import Any

from chatsvc_conformance.check import check
from chatsvc_conformance.checks.group_calls import Group, create, create_group
from chatsvc_conformance.checks.sending import check_message
from chatsvc_conformance.context import Context, Conversation
from chatsvc_conformance.expect import Skipped, expect, same, shown
from chatsvc_conformance.sockets import Frame
from chatsvc_conformance.tokens import fresh_name

_CREATING = "Creating and reading groups"
_MESSAGES = "Messages of a group"
_JOINING = "Joining and leaving"
_FRAMES = "Frames of a group"


@check("groups.create", _CREATING, "The creator is the group's admin")
async def created(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id, name="Readers", avatar="book")
    made = group.created
    same(made["channel"], f",g:{made['id']}", "channel")
    found = {name: made.get(name) for name in ("name", "avatar", "history", "join", "member_count")}
    want = {"name": "Readers", "avatar": "book", "history": "all", "join": "invite"}
    same(found, want | {"member_count": 2}, "what the group is like")
    same(made["role"], "admin", "the role of the creator")
    same(await group.read(bob), made | {"role": "member"}, "the group, as the other one has it")
    same(await group.roles(bob), {alice.id: "admin", bob.id: "member"}, "the members")


@check(
    "groups.create-again", _CREATING, "The same `client_id` from the same user is the same group"
)
async def create_again(context: Context) -> None:
    alice, bob = await context.users(2)
    key = context.client_id()
    fields = {"name": "Readers", "members": [bob.id], "client_id": key}
    first = (await create_group(context, alice, **fields)).expect(201)
    again = await create_group(context, alice, **fields)
    same(again.expect(200), first, "the group of the repeat")
    same(again.headers.get("Idempotent-Replayed"), "true", "Idempotent-Replayed")
    (await create_group(context, alice, **(fields | {"name": "Others"}))).problem(409)
    other = (await create_group(context, bob, name="Readers", client_id=key)).expect(201)
    expect(other["id"] != first["id"], "the same client_id of another user must be another group")


@check("groups.update", _CREATING, "`PATCH` changes what it names")
async def updated(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id, avatar="book")
    for _ in range(2):
        changed = (await group.call("PATCH", alice, "", {"name": "Others"})).expect(200)
        now = await group.read(alice)
        same(changed, now, "the answer to PATCH")
        same((now["name"], now["avatar"]), ("Others", "book"), "name and avatar")
        expect(now["rev"] > group.created["rev"], "rev must ascend with a change")
        same(changed["rev"], now["rev"], "rev of what changed nothing")
    page = (await context.get(bob, "/api/changes", channel=group.channel, kinds="group")).expect(
        200
    )
    changes = [frame["change"] for frame in page["frames"]]
    same(changes, ["created", "updated"], "the records of the group")


@check(
    "groups.list",
    _CREATING,
    "The page's `after` asks for the next page; `null`: these are the last",
)
async def listed(context: Context) -> None:
    (alice,) = await context.users(1)
    made = [(await create(context, alice)).id for _ in range(3)]
    found: list[str] = []
    after = ""
    while True:
        page = (await context.get(alice, "/api/groups", limit="2", after=after)).expect(200)
        expect(len(page["groups"]) <= 2, "a page must have at most `limit` groups")
        found += [group["id"] for group in page["groups"]]
        if page["after"] is None:
            break
        expect(page["after"] > after, "after must ascend")
        after = page["after"]
    same(found, sorted(set(found)), "the ids of all pages, ascending")
    expect(set(made) <= set(found), "the pages must have every group of the user")


@check("groups.messages", _MESSAGES, "A message to a group is for everybody who is a member")
async def messages(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    listener, sender = await context.connect(bob), await context.connect(alice)
    first = (await group.post(alice, "one")).expect(201)
    ack = await sender.ask({"type": "send", "channel": group.channel, "content": "two"})
    same(ack["type"], "ack", "the answer to send by channel")
    got = await listener.messages(group.channel, 2)
    same(got[0], first, "the frame of the first")
    conversation = Conversation([], group.channel)
    check_message(got[1], conversation, alice.id, "two")
    for user in (alice, bob):
        page = await context.page(user, conversation)
        same(page["messages"], got, "history")


@check("groups.nobody-else", _MESSAGES, "and for nobody else")
async def nobody_else(context: Context) -> None:
    alice, bob, eve = await context.users(3)
    group = await create(context, alice, bob.id)
    listener, outside = await context.connect(bob), await context.connect(eve)
    sent = (await group.post(alice, "hello")).expect(201)
    await listener.messages(group.channel, 1)
    await outside.alive()
    same(outside.got(group.channel), [], "what somebody else receives")
    for path in ("/api/messages/get", "/api/changes"):
        (await context.get(eve, path, channel=group.channel)).problem(403)
    (await context.get(eve, f"/api/messages/{sent['id']}")).problem(404)
    (await group.post(eve, "x")).problem(403)
    answer = await outside.ask({"type": "send", "channel": group.channel, "content": "x"})
    same((answer["type"], answer.get("code")), ("error", "not_a_member"), "the answer to its send")


@check(
    "groups.unknown-and-foreign",
    "Errors of groups",
    "the caller is not a member, or there is no such group: both get the same answer",
)
async def unknown_and_foreign(context: Context) -> None:
    alice, eve = await context.users(2)
    foreign = await create(context, alice)
    refusals: list[list[Any]] = []
    for group in (foreign, Group(context, {"id": "0" * 32, "channel": ",g:" + "0" * 32})):
        answers = [
            await group.call("GET", eve),
            await group.call("PATCH", eve, "", {"name": "x"}),
            await group.call("DELETE", eve),
            await group.call("GET", eve, "/members"),
            await group.put(eve, eve.id),
            await group.put(eve, alice.id, "member"),
            await group.remove(eve, eve.id),
            await group.post(eve, "x"),
            await context.get(eve, "/api/messages/get", channel=group.channel),
        ]
        problems = [answer.problem(403) for answer in answers]
        for problem in problems:
            problem.pop("request_id")
        refusals.append(problems)
    expect(refusals[0] == refusals[1], f"refusals must be equal: {shown(refusals)}")


@check("groups.send-after-removal", _MESSAGES, "is refused with 403 `not_a_member`")
async def send_after_removal(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    socket = await context.connect(bob)
    (await group.remove(alice, bob.id)).expect(200)
    problem = (await group.post(bob, "late")).problem(403)
    same(problem["code"], "not_a_member", "the code of the refusal")
    error = await socket.ask({"type": "send", "channel": group.channel, "content": "late"})
    same((error["type"], error.get("code")), ("error", "not_a_member"), "the answer to the frame")
    same(await group.contents(alice), [], "history")


@check(
    "groups.send-again",
    _MESSAGES,
    "A retry of a send that was accepted is answered with the first message, also after the "
    "sender's removal",
)
async def send_again(context: Context) -> None:
    alice, bob = await context.users(2)
    group, key = await create(context, alice, bob.id), context.client_id()
    first = (await group.post(bob, "hello", client_id=key)).expect(201)
    (await group.remove(alice, bob.id)).expect(200)
    again = await group.post(bob, "hello", client_id=key)
    same(again.expect(200), first, "the answer to the retry")
    (await group.post(bob, "another", client_id=key)).problem(409)
    same(await group.contents(alice), ["hello"], "history")


@check(
    "groups.removed",
    _FRAMES,
    "Who is removed, or leaves, receives the record of it, and nothing of the group after it",
)
async def removed(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    group = await create(context, alice, bob.id, carol.id)
    beside = await create(context, alice, bob.id, carol.id)
    sockets = {user.id: await context.connect(user) for user in (bob, carol)}
    ends = {
        bob.id: (await group.remove(alice, bob.id)).expect(200)["id"],
        carol.id: (await group.remove(carol, carol.id)).expect(200)["id"],
    }
    (await group.post(alice, "after")).expect(201)
    (await beside.post(alice, "beside")).expect(201)
    for user, change in ((bob, "removed"), (carol, "left")):
        socket = sockets[user.id]
        await socket.messages(beside.channel, 1)
        got = group.frames(socket)
        expect(got, "the record of the end must come")
        last = got[-1]
        found = last.get("type"), last.get("change"), last.get("users"), last.get("id")
        same(found, ("membership", change, [user.id], ends[user.id]), "the last record")


@check("groups.replay", _JOINING, "Nothing later is readable, delivered or replayed")
async def replay(context: Context) -> None:
    alice, bob = await context.users(2)
    group, beside = await create(context, alice, bob.id), await create(context, alice, bob.id)
    before = await context.connect(bob)
    cursor = before.hello["cursor"]
    await before.close()
    sent = (await group.post(alice, "while a member")).expect(201)
    ended = (await group.remove(alice, bob.id)).expect(200)
    (await group.post(alice, "after")).expect(201)
    (await beside.post(alice, "beside")).expect(201)
    socket = await context.connect(bob, since=cursor)
    await socket.of_type("caught_up")
    got = [frame.get("id") for frame in group.frames(socket)]
    same(got, [sent["id"], ended["id"]], "the ids that are replayed of the group")


@check(
    "groups.former-member",
    _JOINING,
    "**A former member reads on what was sent during the membership**",
)
async def former_member(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    (await group.post(alice, "before")).expect(201)
    (await group.remove(alice, bob.id)).expect(200)
    (await group.post(alice, "after")).expect(201)
    same(await group.contents(bob), ["before"], "what a former member reads")
    (await group.call("GET", bob)).problem(403)
    page = (await context.get(bob, "/api/changes", channel=group.channel)).expect(200)
    same(page["frames"][-1].get("change"), "removed", "the last record that a former member reads")


@check("groups.history", _JOINING, "with `from_join` what is sent from the join on")
async def history(context: Context) -> None:
    alice, bob = await context.users(2)
    for policy, want in (("all", ["before", "after"]), ("from_join", ["after"])):
        group = await create(context, alice, history=policy)
        (await group.post(alice, "before")).expect(201)
        (await group.put(alice, bob.id)).expect(200)
        (await group.post(alice, "after")).expect(201)
        same(await group.contents(bob), want, f"what is read with history {policy!r}")
        whole = (await context.get(bob, "/api/messages", limit="1000")).expect(200)["messages"]
        contents = [one["content"] for one in whole if one["channel"] == group.channel]
        same(contents, ["after"], "what is read over all conversations")


@check(
    "groups.open", _JOINING, "In an `open` group everybody who knows its id may also add themselves"
)
async def open_group(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, join="open")
    joined = (await group.put(bob, bob.id)).expect(200)
    same((joined["user"], joined["role"]), (bob.id, "member"), "the membership")
    same(await group.roles(bob), {alice.id: "admin", bob.id: "member"}, "the members")
    closed = await create(context, alice)
    (await closed.put(bob, bob.id)).problem(403)


@check("groups.repeats", _JOINING, "All of these calls may be repeated")
async def repeats(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice)
    joined = (await group.put(alice, bob.id)).expect(200)
    same((await group.put(alice, bob.id)).expect(200), joined, "the repeat of an addition")
    ended = (await group.remove(alice, bob.id)).expect(200)
    same((await group.remove(alice, bob.id)).expect(200), ended, "the repeat of a removal")
    same((await group.remove(bob, bob.id)).expect(200), ended, "the leaving of who was removed")
    deleted = (await group.call("DELETE", alice)).expect(200)
    same((await group.call("DELETE", alice)).expect(200), deleted, "the repeat of the deletion")


@check("groups.delete", _JOINING, "`DELETE` of a group ends every membership at once")
async def deleted(context: Context) -> None:
    alice, bob = await context.users(2)
    group = await create(context, alice, bob.id)
    (await group.post(alice, "before")).expect(201)
    socket = await context.connect(bob)
    record = (await group.call("DELETE", alice)).expect(200)
    frame = await socket.of_type("group")
    same((frame["change"], frame["id"]), ("deleted", record["id"]), "the record of the deletion")
    for user in (alice, bob):
        (await group.call("GET", user)).problem(403)
        (await group.post(user, "after")).problem(403)
        same(await group.contents(user), ["before"], "what is read afterwards")
        page = (await context.get(user, "/api/groups", limit="1000")).expect(200)
        expect(group.id not in [one["id"] for one in page["groups"]], "it must not be listed")


@check("groups.frames", _FRAMES, "`member_count` is the number of members after the record")
async def frames(context: Context) -> None:
    alice, bob = await context.users(2)
    member, added = await context.connect(alice), await context.connect(bob)
    group = await create(context, alice, name="Readers", avatar="book")
    joined = (await group.put(alice, bob.id)).expect(200)["joined"]
    await group.put(alice, bob.id, "moderator")
    await group.call("PATCH", alice, "", {"name": "Others"})
    await group.remove(alice, bob.id)
    await group.frame(member, _ends, "frame of the removal")
    got = group.frames(member)
    found = [(frame["type"], frame["change"], frame["member_count"]) for frame in got]
    want = [("group", "created", 1), ("membership", "added", 2), ("membership", "role", 2)]
    want += [("group", "updated", 2), ("membership", "removed", 1)]
    same(found, want, "type, change and member_count of the frames")
    same([one["sender"] for one in got], [alice.id] * len(got), "the senders")
    roles = [(one["users"], one.get("role")) for one in got if one["type"] == "membership"]
    same(roles, [([bob.id], "member"), ([bob.id], "moderator"), ([bob.id], None)], "users and role")
    await group.frame(added, _ends, "frame of the removal")
    own = group.frames(added)
    same(own, got[1:], "what the member who was added receives")
    same(own[0]["id"], joined, "the record that began the membership")


@check(
    "groups.large",
    _FRAMES,
    "In a larger group it is for the users whom it names, its sender and the admins",
)
async def large(context: Context) -> None:
    alice, bob = await context.users(2)
    crowd = [fresh_name() for _ in range(98)]
    group = await create(context, alice, bob.id, *crowd)
    last, late = fresh_name(), fresh_name()
    answer = await group.put(alice, last)
    if answer.status == 409:
        raise Skipped("a group of this server has at most 100 members")
    answer.expect(200)
    admin, member = await context.connect(alice), await context.connect(bob)
    (await group.put(alice, late)).expect(200)
    sent = (await group.post(alice, "after")).expect(201)
    await group.frame(admin, lambda frame: frame.get("users") == [late], "frame of the addition")
    await group.frame(member, lambda frame: frame.get("id") == sent["id"], "message")
    types = [frame["type"] for frame in group.frames(member)]
    same(types, ["message"], "the frames of a member without a role")


def _ends(frame: Frame) -> bool:
    return bool(frame.get("change") == "removed")
