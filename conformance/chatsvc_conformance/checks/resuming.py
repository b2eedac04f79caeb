"""Coming back: what was missed, in order, each once, or an announced gap."""

from __future__ import annotations

import asyncio
from typing import Any

from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context, Conversation
from chatsvc_conformance.expect import expect, same, shown
from chatsvc_conformance.protocol import is_cursor
from chatsvc_conformance.sockets import Socket
from chatsvc_conformance.tokens import User

_ALL = '`"recovered": true`: all that was missed follows, in order, each once, then `caught_up`'
_GAP = "A `gap` names the range to fetch by HTTP; what follows is live"
_FIRST = "0000000000000000"


async def _position(context: Context, user: User) -> str:
    """Where a user stands now, from a connection that is closed again."""
    socket = await context.connect(user)
    await socket.close()
    return str(socket.hello["cursor"])


async def _resumed(
    context: Context, user: User, since: str, channel: str, missed: list[Any]
) -> Socket:
    """A socket that recovered just ``missed`` of a conversation before ``caught_up``."""
    socket = await context.connect(user, since=since)
    same(socket.hello.get("recovered"), True, "recovered")
    await socket.of_type("caught_up")
    end = next(n for n, frame in enumerate(socket.frames) if frame["type"] == "caught_up")
    before = [frame for frame in socket.frames[:end] if frame.get("channel") == channel]
    same([m["id"] for m in before], [m["id"] for m in missed], "the ids before caught_up")
    same(before, missed, "what came before caught_up")
    return socket


@check("resume.what-was-missed", "Resume", _ALL)
async def what_was_missed(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = await _position(context, bob)
    missed = [await context.send(alice, conversation, f"{number}") for number in range(5)]
    socket = await _resumed(context, bob, since, conversation.channel, missed)
    live = await context.send(alice, conversation, "live")
    got = await socket.messages(conversation.channel, 6)
    same(got, [*missed, live], "what came in all")


@check("resume.nothing-missed", "Resume", _ALL)
async def nothing_missed(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = await _position(context, bob)
    socket = await _resumed(context, bob, since, conversation.channel, [])
    await _resumed(context, bob, (await socket.of_type("caught_up"))["cursor"], "", [])


@check(
    "resume.composed-cursor",
    "Data types",
    "`epoch` + `.` + the id of the last message that you handled is a valid cursor",
)
async def composed_cursor(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    socket = await context.connect(bob)
    sent = [await context.send(alice, conversation, f"{number}") for number in range(5)]
    await socket.messages(conversation.channel, 5)
    await socket.close()
    for handled in range(5):
        since = f"{socket.epoch}.{sent[handled]['id']}"
        await _resumed(context, bob, since, conversation.channel, sent[handled + 1 :])


@check("resume.from-the-beginning", "Resume", _ALL)
async def from_the_beginning(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    epoch = (await context.connect(bob)).epoch
    sent = [await context.send(alice, conversation, f"{number}") for number in range(3)]
    socket = await context.connect(bob, since=f"{epoch}.{_FIRST}")
    if socket.hello.get("recovered"):
        await socket.of_type("caught_up")
        same(socket.got(conversation.channel), sent, "what came before caught_up")
    else:  # users whose tokens were given may have more than a resume replays
        await socket.of_type("gap")


@check("resume.many", "Resume", _ALL)
async def many(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = await _position(context, bob)
    missed = [m for start in range(0, 350, 50) for m in await _burst(context, alice, conversation)]
    missed.sort(key=lambda message: str(message["id"]))
    await _resumed(context, bob, since, conversation.channel, missed)


async def _burst(context: Context, user: User, conversation: Conversation) -> list[Any]:
    sends = (context.send(user, conversation, f"{number}") for number in range(50))
    return list(await asyncio.gather(*sends))


@check("resume.while-others-speak", "Resume", _ALL)
async def while_others_send(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = await _position(context, bob)
    sent = await _burst(context, alice, conversation)
    speaking = asyncio.ensure_future(_burst(context, alice, conversation))
    try:
        sockets = [await context.connect(bob, since=since) for _ in range(5)]
    finally:
        sent += await speaking
    sent.sort(key=lambda message: str(message["id"]))
    for socket in sockets:
        got = await socket.messages(conversation.channel, len(sent))
        same([m["id"] for m in got], [m["id"] for m in sent], "ids in the order they came")


@check(
    "resume.not-the-senders-own",
    "From the server",
    "never the user's own, unless `echo` and over another connection",
)
async def not_the_senders_own(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = await _position(context, bob)
    own = await context.send(bob, conversation, "mine", headers={"Chatsvc-Device": "desk"})
    other = await context.send(alice, conversation, "yours")
    await _resumed(context, bob, since, conversation.channel, [other])
    socket = await context.connect(bob, since=since, echo="true", device="phone")
    await socket.of_type("caught_up")
    same(socket.got(conversation.channel), [own, other], "what the phone gets with echo")


@check("resume.own-device", "Socket", "A replay after `since` leaves out nothing")
async def own_device(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = await _position(context, bob)
    sent = [await context.send(bob, conversation, "one", headers={"Chatsvc-Device": "desk"})]
    earlier = await context.connect(bob, device="desk")
    frame = {"type": "send", "participants": conversation.participants, "content": "two"}
    answer = await earlier.ask(frame)
    await earlier.close()
    socket = await context.connect(bob, since=since, echo="true", device="desk")
    await socket.of_type("caught_up")
    got = [message["id"] for message in socket.got(conversation.channel)]
    same(got, [sent[0]["id"], answer["id"]], "ids that the same device gets with echo")


@check("resume.unreadable-cursor", "Resume", "An unreadable cursor is never a refusal")
async def unreadable_cursor(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    await context.send(alice, conversation, "missed")
    for since in ("", "nonsense", "a.b", f"x.{'g' * 16}", "é", "." * 300):
        await _gap_and_live(context, alice, bob, conversation, since)


@check("resume.another-epoch", "Resume", _GAP)
async def another_epoch(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    sent = await context.send(alice, conversation, "missed")
    await _gap_and_live(context, alice, bob, conversation, f"0otherlife0.{sent['id']}")


async def _gap_and_live(
    context: Context, alice: User, bob: User, conversation: Conversation, since: str
) -> None:
    """``recovered`` is false; a gap; then live."""
    socket = await context.connect(bob, since=since)
    same(socket.hello.get("recovered"), False, f"recovered with since={since[:20]!r}")
    gap = await socket.of_type("gap")
    expect(gap["from"] <= gap["to"], f"from of a gap must not be above its to: {shown(gap)}")
    await socket.of_type("caught_up")
    same(socket.got(conversation.channel), [], "messages beside the gap")
    live = await context.send(alice, conversation, "live")
    same(await socket.messages(conversation.channel, 1), [live], "what follows the gap")
    expect(live["id"] > gap["to"], "live ids must lie above the gap")
    await socket.close()


@check("resume.gap-completes", "From the server", "Fetch it: `GET /api/messages?after=`")
async def gap_completes(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    sent = [await context.send(alice, conversation, f"{number}") for number in range(5)]
    socket = await context.connect(bob, since="nonsense")
    gap = await socket.of_type("gap")
    fetched: list[Any] = []
    at, more = gap["from"], True
    while more and at < gap["to"]:
        page = await context.page(bob, None, after=at, limit="1000")
        fetched += [m for m in page["messages"] if gap["from"] < m["id"] <= gap["to"]]
        at, more = page["after"], page["has_more"]
    found = [m for m in fetched if m["channel"] == conversation.channel]
    same(found, sent, "what the gap held")


@check("resume.caught-up-cursor", "From the server", "everything missed was sent, or announced")
async def caught_up_cursor(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = await _position(context, bob)
    last = await context.send(alice, conversation)
    socket = await _resumed(context, bob, since, conversation.channel, [last])
    text = (await socket.of_type("caught_up"))["cursor"]
    expect(is_cursor(text), f"the cursor must be epoch.id: {text!r}")
    same(text.partition(".")[0], socket.epoch, "its epoch")
    expect(text.partition(".")[2] >= last["id"], "the cursor must not lie below what was sent")
