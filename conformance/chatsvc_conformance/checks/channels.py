"""Sends that name their conversation by its key."""

from __future__ import annotations

from typing import Any

from chatsvc_conformance.check import check
from chatsvc_conformance.checks.sending import check_message
from chatsvc_conformance.context import Context, Conversation, conversation_of
from chatsvc_conformance.expect import expect, same, shown
from chatsvc_conformance.http import Answer
from chatsvc_conformance.tokens import User, fresh_name

_EITHER = "**`channel` may replace `participants`**, here and in the socket's `send`"
_HASHED = "A key that begins with `,sha256:` must be that of a conversation of the sender's"
_OTHERS = "For a conversation of others the answer is 403, whether it exists or not"


def _long(*users: User) -> Conversation:
    """A conversation whose key hides its people."""
    end = fresh_name()
    return conversation_of(*(user.id for user in users), *(f"{end}-{n}" * 3 for n in range(8)))


async def _post(context: Context, user: User, **body: Any) -> Answer:
    return await context.api.call("POST", "/api/messages", token=user.token, json=body)


@check("channel.names-its-people", "Sending", _EITHER)
async def names_its_people(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    socket, listener = await context.connect(alice), await context.connect(bob)
    answer = await _post(context, alice, channel=conversation.channel, content="one")
    first = answer.expect(201)
    check_message(first, conversation, alice.id, "one")
    ack = await socket.ask({"type": "send", "channel": conversation.channel, "content": "two"})
    same(ack["type"], "ack", "the answer to send by channel")
    got = await listener.messages(conversation.channel, 2)
    same([frame["id"] for frame in got], [first["id"], ack["id"]], "what the other one gets")
    check_message(got[1], conversation, alice.id, "two")


@check("channel.hashed", "Sending", _HASHED)
async def hashed(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = _long(alice, bob)
    await context.send(alice, conversation, "by its people")
    answer = await _post(context, bob, channel=conversation.channel, content="by its key")
    check_message(answer.expect(201), conversation, bob.id, "by its key")
    socket = await context.connect(alice)
    frame = {"type": "send", "channel": conversation.channel, "content": "on the socket"}
    ack = await socket.ask(frame)
    same(ack["type"], "ack", "the answer to send by a hashed key")
    page = await context.page(bob, conversation)
    contents = [message["content"] for message in page["messages"]]
    same(contents, ["by its people", "by its key", "on the socket"], "history")


@check(
    "channel.order",
    "From the client",
    "Sends of one socket take ids in the order of their frames",
)
async def order(context: Context) -> None:
    (alice,) = await context.users(1)
    named, keyed = context.conversation(alice), _long(alice)
    await context.send(alice, keyed)
    socket = await context.connect(alice)
    for number in range(20):
        where: dict[str, Any] = {"participants": named.participants}
        if number % 2 == 0:  # the first of them has to be looked up
            where = {"channel": keyed.channel}
        await socket.send({"type": "send", "ref": f"{number}", "content": f"{number}", **where})
    ids = [(await socket.answer(f"{number}"))["id"] for number in range(20)]
    same(ids, sorted(set(ids)), "the ids in the order of the frames")


@check("channel.of-others", "Sending", _OTHERS)
async def of_others(context: Context) -> None:
    alice, eve = await context.users(2)
    used = _long(alice)
    await context.send(alice, used)
    socket = await context.connect(eve)
    problems, frames = [], []
    for channel in (used.channel, _long(alice).channel, conversation_of(alice.id).channel):
        problem = (await _post(context, eve, channel=channel, content="x")).problem(403)
        problem.pop("request_id")
        problems.append(problem)
        frame = await socket.ask({"type": "send", "channel": channel, "content": "x"})
        same(frame.get("type"), "error", "the answer to send into a conversation of others")
        frame.pop("ref")
        frames.append(frame)
    for refusals in (problems, frames):
        expect(
            refusals[0] == refusals[1] == refusals[2], f"refusals must be equal: {shown(refusals)}"
        )


@check("channel.exactly-one", "Sending", "exactly one of the two must be given")
async def exactly_one(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    both = {"participants": conversation.participants, "channel": conversation.channel}
    socket = await context.connect(alice)
    for names, pointer in (({}, "/participants"), (both, "/channel")):
        problem = (await _post(context, alice, content="x", **names)).problem(422)
        same([one["pointer"] for one in problem["errors"]], [pointer], "the pointers")
        error = await socket.ask({"type": "send", "content": "x", **names})
        same((error["type"], error.get("pointer")), ("error", pointer), "the answer to the frame")
