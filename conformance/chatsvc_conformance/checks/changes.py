"""Records of every kind, over HTTP and by kind over a socket."""

from __future__ import annotations

from typing import Any

from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context
from chatsvc_conformance.expect import expect, same
from chatsvc_conformance.tokens import User

_NONE = "0000000000000000"
_NO_SUCH_KIND = "of_no_server"


async def _page(context: Context, user: User, **query: str) -> dict[str, Any]:
    page: dict[str, Any] = (await context.get(user, "/api/changes", **query)).expect(200)
    for name in ("frames", "up_to", "has_more", "complete"):
        expect(name in page, f"a page of changes must have {name}")
    return page


@check(
    "changes.frames",
    "Changes",
    "the frames that a replay would send, messages and changes, the oldest above `after` first",
)
async def frames(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation, beside = context.conversation(alice, bob), context.conversation(alice, bob)
    sent = [await context.send((alice, bob)[n % 2], conversation, f"{n}") for n in range(5)]
    await context.send(alice, beside, "beside")
    page = await _page(context, bob, channel=conversation.channel, kinds="message")
    same(page["frames"], sent, "the frames of the page")
    same(page["has_more"], False, "has_more")
    page = await _page(context, bob, channel=conversation.channel, after=sent[1]["id"])
    ids = [frame["id"] for frame in page["frames"]]
    same(ids, sorted(ids), "ascending ids")
    expect({one["id"] for one in sent[2:]} <= set(ids), "what lies above `after` must be there")
    expect(all(one > sent[1]["id"] for one in ids), "`after` must be an exclusive bound")


@check("changes.up-to", "Changes", "`up_to` is the last id that was looked at")
async def up_to(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    sent = [await context.send(alice, conversation, f"{n}") for n in range(5)]
    found: list[Any] = []
    after = _NONE
    for _ in range(20):
        page = await _page(
            context, bob, channel=conversation.channel, kinds="message", after=after, limit="2"
        )
        expect(len(page["frames"]) <= 2, "a page must have at most `limit` frames")
        found += page["frames"]
        expect(page["up_to"] >= after, "up_to must not go back")
        if not page["has_more"]:
            break
        expect(page["up_to"] > after, "up_to of a page that has more must be above `after`")
        after = page["up_to"]
    same(found, sent, "the frames of all pages")
    expect(page["up_to"] >= sent[-1]["id"], "up_to of the last page must be at its end")


@check(
    "changes.kinds",
    "Changes",
    "`kinds` may name kinds that the server does not know: there are no records of them",
)
async def kinds(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    await context.send(alice, conversation)
    page = await _page(context, bob, channel=conversation.channel, kinds=_NO_SUCH_KIND)
    same(page["frames"], [], "the frames of a kind that there is not")
    problem = (await context.get(bob, "/api/changes", kinds="No Kind")).problem(422)
    same([error["pointer"] for error in problem["errors"]], ["/kinds"], "the pointer of the error")


@check("changes.of-others", "Reading", "A user who is not a participant gets 403")
async def of_others(context: Context) -> None:
    alice, bob, carol = await context.users(3)
    conversation = context.conversation(alice, bob)
    await context.send(alice, conversation)
    (await context.get(carol, "/api/changes", channel=conversation.channel)).problem(403)
    page = await _page(context, carol)
    channels = [frame["channel"] for frame in page["frames"]]
    expect(conversation.channel not in channels, "a page must have the caller's records alone")


@check(
    "socket.kinds",
    "Socket",
    "`kinds=message,…` asks for records of these kinds alone",
)
async def socket_kinds(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    chosen = await context.connect(bob, kinds="message")
    others = await context.connect(bob, kinds=_NO_SUCH_KIND)
    whole = await context.connect(bob)
    sent = await context.send(alice, conversation)
    for socket in (chosen, whole):
        same(await socket.of_type("message"), sent, "the message")
    await others.alive()
    expect(
        all(frame["type"] != "message" for frame in others.frames),
        "a socket that did not ask for messages must not receive one",
    )
