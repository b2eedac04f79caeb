"""Where a connection stands, and what a client may do before it has caught up."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from chatsvc_conformance import framing
from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context
from chatsvc_conformance.expect import expect, same
from chatsvc_conformance.tokens import User

_NOTHING = (
    "**Without `since` nothing is replayed**: neither a `gap` nor `caught_up` follows `hello`"
)


def _id_of(cursor: str) -> str:
    return cursor.partition(".")[2]


@check("position.without-since", "Position of a connection", _NOTHING)
async def without_since(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    missed = await context.send(alice, conversation, "missed")
    socket = await context.connect(bob)
    expect("recovered" not in socket.hello, "recovered must be absent without since")
    begins = _id_of(socket.hello["cursor"])
    live = await context.send(alice, conversation, "live")
    same(await socket.messages(conversation.channel, 1), [live], "what comes without since")
    expect(missed["id"] <= begins < live["id"], f"hello.cursor {begins} must lie between the two")
    await socket.alive()
    kinds = {frame["type"] for frame in socket.frames}
    expect(
        kinds.isdisjoint({"gap", "caught_up"}),
        f"neither gap nor caught_up must come: {sorted(kinds)}",
    )


@check(
    "position.of-a-replay",
    "Position of a connection",
    "the position of `since`, where the replay begins",
)
async def of_a_replay(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = (await context.connect(bob)).hello["cursor"]
    await context.send(alice, conversation, "missed")
    socket = await context.connect(bob, since=since)
    same(socket.hello.get("recovered"), True, "recovered")
    same(socket.hello["cursor"], since, "hello.cursor of a replay")


@check("position.of-a-gap", "Position of a connection", "where the `gap` ends")
async def of_a_gap(context: Context) -> None:
    alice, bob = await context.users(2)
    await context.send(alice, context.conversation(alice, bob), "missed")
    socket = await context.connect(bob, since="nonsense")
    same(socket.hello.get("recovered"), False, "recovered")
    gap = await socket.of_type("gap")
    same(gap["to"], _id_of(socket.hello["cursor"]), "the end of the gap, beside hello.cursor")


@check(
    "position.send-before-caught-up",
    "Position of a connection",
    "**A client may send as soon as `hello` came**, before `caught_up` too",
)
async def send_before_caught_up(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = (await context.connect(bob)).hello["cursor"]
    sends = (context.send(alice, conversation, f"{number}") for number in range(150))
    missed: list[Any] = sorted(await asyncio.gather(*sends), key=lambda one: str(one["id"]))
    socket = await context.connect(bob, since=since)
    own = context.conversation(bob)
    frame = {"type": "send", "participants": own.participants, "content": "before caught_up"}
    ack = await socket.ask(frame)
    same(ack["type"], "ack", "the answer to send before caught_up")
    await socket.of_type("caught_up")
    same(socket.got(conversation.channel), missed, "the replay beside the send")
    page = await context.page(bob, own)
    same([message["id"] for message in page["messages"]], [ack["id"]], "history")


@check(
    "position.live-beside-a-gap",
    "Position of a connection",
    "**Live frames do not wait for a gap to be fetched.** They come meanwhile, with ids above its "
    "`to`",
)
async def live_beside_a_gap(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    missed = [await context.send(alice, conversation, f"{number}") for number in range(3)]
    socket = await context.connect(bob, since="nonsense")
    gap = await socket.of_type("gap")
    live = [await context.send(alice, conversation, f"live {number}") for number in range(3)]
    same(await socket.messages(conversation.channel, 3), live, "what came before the fetch")
    fetched = await _fetched(context, bob, gap)
    held = {message["id"]: message for message in fetched if message["id"] <= gap["to"]}
    expect(all(one["id"] > gap["to"] for one in live), "live ids must lie above the gap's to")
    held |= {message["id"]: message for message in live}
    found = [held[name] for name in sorted(held)]
    found = [one for one in found if one["channel"] == conversation.channel]
    same(found, [*missed, *live], "the gap and the live frames together")


async def _fetched(context: Context, user: User, gap: dict[str, Any]) -> list[Any]:
    """What a gap holds, and perhaps more above it, page by page."""
    fetched: list[Any] = []
    at, more = gap["from"], True
    while more and at < gap["to"]:
        page = await context.page(user, None, after=at, limit="1000")
        fetched += page["messages"]
        at, more = page["after"], page["has_more"]
    return fetched


@check(
    "position.ping",
    "Heartbeat and slow readers",
    "A `ping` frame is answered by `pong` at once, during a replay too",
)
async def ping(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    since = (await context.connect(bob)).hello["cursor"]
    await asyncio.gather(*(context.send(alice, conversation, f"{n}") for n in range(150)))
    socket = await context.connect(bob, since=since)
    await socket.alive()
    await socket.of_type("caught_up")
    same(len(socket.got(conversation.channel)), 150, "messages of the replay beside the ping")


@check("position.heard", "Heartbeat and slow readers", "Whatever a client sends counts as received")
async def any_frame_is_received(context: Context) -> None:
    (alice,) = await context.users(1)
    greeted = await context.connect(alice)
    seconds = context.heartbeat(greeted)
    raw = await context.raw(alice)  # which answers no ping of the server's
    for number in range(12):
        await asyncio.sleep(seconds / 4)
        raw.send(framing.TEXT, b'{"type":"ping","ref":"%d"}' % number)
        answer: Any = {}
        while answer.get("ref") != str(number):  # `cursor` frames may come between
            answer = json.loads((await raw.frame_of(framing.TEXT)).payload)
        same(answer["type"], "pong", "the answer to ping")
