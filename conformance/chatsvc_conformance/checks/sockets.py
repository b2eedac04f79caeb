"""Frames in both directions, and who gets what."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from chatsvc_conformance import close_codes
from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context, Conversation
from chatsvc_conformance.contracts import required_members
from chatsvc_conformance.expect import expect, same, shown
from chatsvc_conformance.protocol import PROTOCOL_VERSION, is_cursor
from chatsvc_conformance.sockets import Socket
from chatsvc_conformance.tokens import User, fresh_name

_SEND = (
    "`send` | `participants` or `channel`, `content`, `client_id`?, `metadata`?, `ref`? | "
    "`ack` or `error`"
)
_REFUSED = "a frame was refused; the connection stays open"


def _send(conversation: Conversation, content: str = "hello", **more: Any) -> dict[str, Any]:
    return {
        "type": "send",
        "participants": conversation.participants,
        "content": content,
        **more,
    }


def _zone(text: str) -> str:
    try:
        return str(datetime.fromisoformat(text).tzinfo)
    except ValueError:
        return shown(text)


@check("socket.hello", "From the server", "The first frame is `hello`")
async def hello(context: Context) -> None:
    (alice,) = await context.users(1)
    frame = (await context.connect(alice)).hello
    for name, kind in required_members("Hello").items():
        got = frame.get(name)
        expect(isinstance(got, kind), f"{name} of hello has the wrong type: {shown(got)}")
    same(frame["user"], alice.id, "user")
    same(frame["protocol"], PROTOCOL_VERSION, "protocol")
    expect(is_cursor(frame["cursor"]), f"cursor must be epoch.id: {frame['cursor']!r}")
    same(frame["cursor"].partition(".")[0], frame["epoch"], "the epoch of the cursor")
    same(_zone(frame["server_time"]), "UTC", "the time zone of server_time")
    same(frame["max_content"], context.limits.content_characters, "max_content")
    expect("recovered" not in frame, "recovered must be absent without since")


@check("socket.parameters", "Socket", "**Parameters**: `since=CURSOR` resumes")
async def parameters(context: Context) -> None:
    (alice,) = await context.users(1)
    for query, pointer in (
        ({"colour": "red"}, "/colour"),
        ({"echo": "perhaps"}, "/echo"),
        ({"device": "a b"}, "/device"),
        ({"device": "x" * 65}, "/device"),
        ({"receipts": "read"}, "/receipts"),
    ):
        headers = {
            "Authorization": f"Bearer {alice.token}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        answer = await context.api.call("GET", "/ws", query=query, headers=headers)
        found = [error["pointer"] for error in answer.problem(422)["errors"]]
        expect(pointer in found, f"{shown(query)}: a pointer must be {pointer}: {found}")


@check("socket.ack", "From the client", _SEND)
async def ack(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    socket, listener = await context.connect(alice), await context.connect(bob)
    answer = await socket.ask(_send(conversation, "over the socket", metadata={"a": 1}))
    same(answer["type"], "ack", "the answer to send")
    read = (await context.get(alice, f"/api/messages/{answer['id']}")).expect(200)
    same(read["created_at"], answer["created_at"], "created_at")
    same(read["content"], "over the socket", "content")
    expect(not answer.get("duplicate", False), f"the ack must not be a duplicate: {shown(answer)}")
    read.pop("state")
    same(await listener.messages(conversation.channel, 1), [read], "what the other one gets")


@check("socket.without-ref", "From the client", "`ref` is 1 to 64 characters of your choice")
async def without_ref(context: Context) -> None:
    (alice,) = await context.users(1)
    socket = await context.connect(alice)
    await socket.send({"type": "ping"})
    pong = await socket.of_type("pong")
    expect("ref" not in pong, f"pong to a ping without ref must have none: {shown(pong)}")
    for ref in ("x", "é" * 64):
        await socket.send({"type": "ping", "ref": ref})
        same((await socket.answer(ref))["type"], "pong", "the answer to ping")


@check(
    "socket.frame-order",
    "From the client",
    "Sends of one socket take ids in the order of their frames",
)
async def frame_order(context: Context) -> None:
    alice, bob = await context.users(2)
    held = [context.conversation(alice, bob), context.conversation(alice, bob)]
    socket, listener = await context.connect(alice), await context.connect(bob)
    for number in range(40):
        await socket.send(_send(held[number % 2], f"{number}", ref=f"{number}"))
    ids = [(await socket.answer(f"{number}"))["id"] for number in range(40)]
    same(ids, sorted(set(ids)), "the ids in the order of the frames")
    for conversation in held:
        await listener.messages(conversation.channel, 20)
    channels = {conversation.channel for conversation in held}
    got = [f["id"] for f in listener.frames if f.get("channel") in channels]
    same(got, ids, "the order in which they are delivered")


@check("socket.many-unanswered", "From the client", "there is no need to count")
async def many_unanswered(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    socket = await context.connect(alice)
    for number in range(300):
        await socket.send(_send(conversation, f"{number}", ref=f"{number}"))
    ids = [(await socket.answer(f"{number}"))["id"] for number in range(300)]
    same(ids, sorted(set(ids)), "the ids in the order of the frames")


@check("deliver.everybody", "Sending", "on every socket they have open")
async def everybody(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    conversation = context.conversation(alice, bob, carol)
    sockets = [await context.connect(user) for user in (bob, bob, carol)]
    sent = [await context.send(alice, conversation, f"{number}") for number in range(5)]
    for socket in sockets:
        same(await socket.messages(conversation.channel, 5), sent, "the messages of a socket")


@check("deliver.nobody-else", "From the server", "from one of the user's conversations")
async def nobody_else(context: Context) -> None:
    alice, bob, eve = await context.users(3)
    private, common = context.conversation(alice, bob), context.conversation(alice, bob, eve)
    socket = await context.connect(eve)
    await context.send(alice, private, "private")
    sent = await context.send(alice, common, "for all")
    same(await socket.messages(common.channel, 1), [sent], "the common conversation")
    same(socket.got(private.channel), [], "a conversation of others")


@check(
    "deliver.not-the-sender",
    "From the server",
    "never the user's own, unless `echo` and over another connection",
)
async def not_the_sender(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    sending, beside = await context.connect(alice), await context.connect(alice)
    await sending.ask(_send(conversation, "mine"))
    await context.send(alice, conversation, "mine too")
    await _nothing_before(context, bob, conversation, sending, beside)


async def _nothing_before(
    context: Context, other: User, conversation: Conversation, *sockets: Socket
) -> None:
    """Require that these sockets got nothing of a conversation before a message sent now."""
    end = await context.send(other, conversation, fresh_name())
    for socket in sockets:
        same(await socket.messages(conversation.channel, 1), [end], "the messages of a socket")


@check(
    "deliver.echo",
    "Socket",
    "`echo=true` also delivers what the same user sent over other connections",
)
async def echo(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    phone = await context.connect(alice, echo="true", device="phone")
    desktop = await context.connect(alice, echo="true")
    ack = await phone.ask(_send(conversation, "from the phone"))
    (got,) = await desktop.messages(conversation.channel, 1)
    same((got["id"], got["content"]), (ack["id"], "from the phone"), "what the desktop gets")
    await _nothing_before(context, bob, conversation, phone)


@check(
    "deliver.echo-of-one-device",
    "Socket",
    "it receives whatever other sockets of its user sent, of the same `device` too",
)
async def echo_of_one_device(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    tabs = [await context.connect(alice, echo="true", device="web") for _ in range(2)]
    acks = [await tab.ask(_send(conversation, "from a tab")) for tab in tabs]
    for tab, other in zip(tabs, reversed(acks), strict=True):
        (got,) = await tab.messages(conversation.channel, 1)
        same(got["id"], other["id"], "what a tab gets is what the other sent")
    end = await context.send(bob, conversation, fresh_name())
    for tab in tabs:
        both = await tab.messages(conversation.channel, 2)
        same(both[-1], end, "what comes next")


@check("deliver.echo-over-http", "Socket", "so that its own sends over HTTP do not echo")
async def echo_over_http(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    phone = await context.connect(alice, echo="true", device="phone")
    desktop = await context.connect(alice, echo="true", device="desktop")
    sent = await context.send(alice, conversation, "one", headers={"Chatsvc-Device": "phone"})
    same(await desktop.messages(conversation.channel, 1), [sent], "what the desktop gets")
    await _nothing_before(context, bob, conversation, phone)
    nameless = await context.send(alice, conversation, "two")
    for socket, number in ((phone, 2), (desktop, 3)):
        got = await socket.messages(conversation.channel, number)
        same(got[-1], nameless, "what no device has sent")


@check("socket.auth", "From the client", "`auth` | `token`, `ref`? | `auth_ok` or `error`")
async def auth(context: Context) -> None:
    (alice,) = await context.users(1)
    socket = await context.connect(alice)
    answer = await socket.ask({"type": "auth", "token": alice.token})
    same(answer["type"], "auth_ok", "the answer to auth")
    expect(
        isinstance(answer.get("expires_at"), int),
        f"expires_at of auth_ok must be a number: {shown(answer)}",
    )
    await socket.alive()


@check("socket.auth-refused", "From the client", "`auth` | `token`, `ref`? | `auth_ok` or `error`")
async def auth_refused(context: Context) -> None:
    (alice,) = await context.users(1)
    socket = await context.connect(alice)
    answer = await socket.ask({"type": "auth", "token": "this.is.none"})
    same(answer["type"], "error", "the answer to auth with a bad token")
    await socket.alive()


@check("socket.auth-of-another", "From the client", "another user's token closes with 4003")
async def auth_of_another(context: Context) -> None:
    alice, bob = await context.users(2)
    socket = await context.connect(alice)
    await socket.send({"type": "auth", "token": bob.token, "ref": "x"})
    same(await socket.closed(), close_codes.FORBIDDEN, "the close code")


@check("socket.refused-frames", "From the server", _REFUSED)
async def refused_frames(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    socket = await context.connect(alice)
    for frame in (
        {"type": "dance"},
        {"type": "ping", "colour": "red"},
        {"content": "x", "participants": [alice.id]},
        _send(conversation, colour="red"),
        {"type": "auth"},
    ):
        error = await socket.ask(frame)
        same(error["type"], "error", f"the answer to {shown(frame)}")
        expect(
            error.get("code") and error.get("detail"),
            f"an error must have code and detail: {shown(error)}",
        )
    await socket.alive()
    page = await context.page(alice, conversation)
    same(page["messages"], [], "history")


@check("socket.not-json", "From the server", _REFUSED)
async def not_json(context: Context) -> None:
    (alice,) = await context.users(1)
    socket = await context.connect(alice)
    texts = ("", "{", "hello", "[]", "null", "[" * 50_000, '{"type":"ping"} x')
    for count, text in enumerate(texts, start=1):
        await socket.send_text(text)
        await socket.count("error", count)
        await socket.alive()


@check(
    "socket.error-names-the-bound",
    "From the server",
    "`code`, `detail`, `ref`?, `pointer`?, `limit`?, `retry_after`?, `id`?",
)
async def error_names_the_bound(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    socket = await context.connect(alice)
    max_content = context.limits.content_characters
    not_a_member = Conversation([fresh_name()], "")
    for frame, pointer, limit in (
        (_send(conversation, "x" * (max_content + 1)), "/content", max_content),
        (_send(conversation, ""), "/content", 1),
        (_send(Conversation([], "")), "/participants", 1),
        (_send(Conversation([alice.id, "a,b"], "")), "/participants/1", None),
        (_send(conversation, client_id="x" * 65), "/client_id", 64),
        (_send(not_a_member), "/participants", None),
    ):
        error = await socket.ask(frame)
        same(error["type"], "error", "the answer")
        same(error.get("pointer"), pointer, "pointer")
        same(error.get("limit"), limit, f"limit of {pointer}")
    await socket.send({"type": "ping", "ref": "x" * 65})
    await socket.of_type("error")
    await socket.alive()


@check("socket.receipts", "From the server", "with `receipts=stored`: what this socket sent")
async def receipts(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    socket = await context.connect(alice, receipts="stored")
    plain = await context.connect(alice)
    acks = await asyncio.gather(
        *(socket.ask(_send(conversation, f"{number}")) for number in range(3))
    )
    last = max(answer["id"] for answer in acks)
    await socket.first(
        lambda frame: frame.get("type") == "stored" and frame["up_to"] >= last, "stored frame"
    )
    read = (await context.get(alice, f"/api/messages/{last}")).expect(200)
    same(read["state"], "stored", "the state of what is said to be stored")
    await plain.alive()
    expect(all(frame["type"] != "stored" for frame in plain.frames), "stored must not come unasked")


@check(
    "socket.heartbeat",
    "Heartbeat and slow readers",
    "The server pings every `heartbeat_seconds`",
)
async def heartbeat(context: Context) -> None:
    (alice,) = await context.users(1)
    context.heartbeat(await context.connect(alice))
    raw = await context.raw(alice)
    await raw.frame_of(0x9)


@check(
    "socket.heartbeat-missed",
    "Heartbeat and slow readers",
    "If the server receives nothing between two pings, it closes with 4103",
)
async def heartbeat_missed(context: Context) -> None:
    (alice,) = await context.users(1)
    context.heartbeat(await context.connect(alice))
    raw = await context.raw(alice)
    same(await raw.close_code(), close_codes.HEARTBEAT_MISSED, "the close code")
