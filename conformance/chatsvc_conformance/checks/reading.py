"""Pages, single messages, and whose they are."""

from __future__ import annotations

from typing import Any

from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context, Conversation, conversation_of
from chatsvc_conformance.expect import expect, one_of, same
from chatsvc_conformance.tokens import User, fresh_name

_COUNT = 7
_NONE = "0000000000000000"
_LAST = "f" * 16


async def _send_several(context: Context) -> tuple[User, Conversation, list[Any]]:
    """Seven messages of two people, among others of another conversation."""
    alice, bob = await context.users(2)
    conversation, beside = context.conversation(alice, bob), context.conversation(alice, bob)
    messages = []
    for number in range(_COUNT):
        messages.append(await context.send((alice, bob)[number % 2], conversation, f"{number}"))
        await context.send(alice, beside, "beside")
    return alice, conversation, messages


def _is(page: dict[str, Any], messages: list[Any], *, has_more: bool) -> None:
    same(page["messages"], messages, "the messages of the page")
    same(page["has_more"], has_more, "has_more")
    same(page["complete"], True, "complete")
    if messages:
        same(page["before"], messages[0]["id"], "before")
        same(page["after"], messages[-1]["id"], "after")


@check("read.newest", "Reading", "Without a bound: the newest `limit`")
async def newest(context: Context) -> None:
    alice, conversation, sent = await _send_several(context)
    _is(await context.page(alice, conversation), sent, has_more=False)
    _is(await context.page(alice, conversation, limit="3"), sent[-3:], has_more=True)
    _is(await context.page(alice, conversation, limit=str(_COUNT)), sent, has_more=False)


@check("read.before", "Reading", "`before=ID`: the newest below it")
async def before(context: Context) -> None:
    alice, conversation, sent = await _send_several(context)
    at = sent[5]["id"]
    _is(await context.page(alice, conversation, before=at), sent[:5], has_more=False)
    _is(await context.page(alice, conversation, before=at, limit="2"), sent[3:5], has_more=True)
    _is(await context.page(alice, conversation, before=_LAST, limit="2"), sent[5:], has_more=True)


@check("read.after", "Reading", "`after=ID`: the oldest above it")
async def after(context: Context) -> None:
    alice, conversation, sent = await _send_several(context)
    at = sent[1]["id"]
    _is(await context.page(alice, conversation, after=at), sent[2:], has_more=False)
    _is(await context.page(alice, conversation, after=at, limit="2"), sent[2:4], has_more=True)
    _is(await context.page(alice, conversation, after=_NONE, limit="2"), sent[:2], has_more=True)


@check("read.around", "Reading", "`around=ID`: both sides of it")
async def around(context: Context) -> None:
    alice, conversation, sent = await _send_several(context)
    page = await context.page(alice, conversation, around=sent[3]["id"], limit="4")
    ids = [message["id"] for message in page["messages"]]
    same(ids, sorted(ids), "ascending ids")
    expect(any(i < sent[3]["id"] for i in ids), "there must be messages below the id")
    expect(any(i > sent[3]["id"] for i in ids), "there must be messages above the id")
    expect(len(ids) <= 4 + 1, f"the page must have about 4 messages: it has {len(ids)}")


@check(
    "read.bounds-need-not-exist",
    "Reading",
    "the bounds of `before` and `after` are exclusive; none need exist",
)
async def bounds_need_not_exist(context: Context) -> None:
    alice, conversation, sent = await _send_several(context)
    # One above a message's id no message can be: there are more ids than messages.
    above = f"{int(sent[2]['id'], 16) + 1:016x}"
    _is(await context.page(alice, conversation, after=above), sent[3:], has_more=False)
    _is(await context.page(alice, conversation, before=above), sent[:3], has_more=False)


@check("read.empty-page", "Reading", "of an empty page, the bound that was given")
async def empty_page(context: Context) -> None:
    alice, conversation, sent = await _send_several(context)
    for name, at in (("after", sent[-1]["id"]), ("before", sent[0]["id"]), ("after", _LAST)):
        page = await context.page(alice, conversation, **{name: at})
        _is(page, [], has_more=False)
        same((page["before"], page["after"]), (at, at), "before and after of the empty page")


@check(
    "read.page-by-page",
    "Reading",
    "The answer's `before` and `after` are its first and last id, to ask for the next page with",
)
async def page_by_page(context: Context) -> None:
    alice, conversation, sent = await _send_several(context)
    for direction, start in (("before", _LAST), ("after", _NONE)):
        pages: list[list[Any]] = []
        at, more = start, True
        while more and len(pages) <= _COUNT:
            page = await context.page(alice, conversation, limit="3", **{direction: at})
            pages.append(page["messages"])
            at, more = page[direction], page["has_more"]
        ordered = pages if direction == "after" else pages[::-1]
        same([m for page in ordered for m in page], sent, f"all pages by {direction}")
        same(len(pages), 3, "pages of 3 for 7 messages")


@check(
    "read.all-conversations",
    "HTTP",
    "without `participants` and `channel`, over all of the caller's conversations",
)
async def all_conversations(context: Context) -> None:
    alice, bob = await context.users(2)
    held = [context.conversation(alice, bob), context.conversation(alice, bob)]
    not_bobs = context.conversation(alice)
    start = (await context.send(alice, held[0]))["id"]
    sent = []
    for number in range(4):
        sent.append(await context.send(alice, held[number % 2], f"{number}"))
        await context.send(alice, not_bobs, "not bob's")
    page = await context.page(bob, None, after=start)
    _is(page, sent, has_more=False)
    _is(await context.page(bob, None, after=start, limit="3"), sent[:3], has_more=True)
    _is(await context.page(bob, None, limit="2"), sent[-2:], has_more=True)


@check("read.channel-or-participants", "HTTP", "a page of one conversation")
async def channel_or_participants(context: Context) -> None:
    alice, conversation, sent = await _send_several(context)
    joined = ",".join(conversation.participants)
    for path in ("/api/messages/get", "/api/messages"):
        for query in ({"channel": conversation.channel}, {"participants": joined}):
            _is((await context.get(alice, path, **query)).expect(200), sent, has_more=False)


@check("read.at-once", "Reading", "What was accepted is readable at once, stored or not")
async def at_once(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    sent: list[Any] = []
    for number in range(10):
        sent.append(await context.send(alice, conversation, f"{number}"))
        _is(await context.page(bob, conversation), sent, has_more=False)


@check(
    "read.forbidden",
    "Reading",
    "A user who is not a participant gets 403, whether the conversation exists or not",
)
async def forbidden(context: Context) -> None:
    alice, eve = await context.users(2)
    end = fresh_name()
    short = conversation_of(alice.id, end)
    long = conversation_of(alice.id, *(f"{end}-{number}" * 3 for number in range(8)))
    for used in (short, long):
        await context.send(alice, used)
        unused = conversation_of(*(person[:-1] + "!" for person in used.participants))
        if not used.channel.startswith(","):
            await _alike(context, eve, "participants", used, unused)
        await _alike(context, eve, "channel", used, unused)


async def _alike(
    context: Context, eve: User, name: str, used: Conversation, unused: Conversation
) -> None:
    refusals = []
    for one in (used, unused):
        value = one.channel if name == "channel" else ",".join(one.participants)
        problem = (await context.get(eve, "/api/messages/get", **{name: value})).problem(403)
        problem.pop("request_id")
        refusals.append(problem)
    same(refusals[0], refusals[1], "the refusals for one that exists and one that does not")


@check("read.message", "Reading", '`GET /api/messages/{id}` adds `"state"`')
async def message(context: Context) -> None:
    alice, bob = await context.users(2)
    sent = await context.send(alice, context.conversation(alice, bob), metadata={"a": [1]})
    for user in (alice, bob):
        read = (await context.get(user, f"/api/messages/{sent['id']}")).expect(200)
        one_of(read.pop("state"), ("accepted", "stored"), "state")
        same(read, sent, "the message")


@check("read.not-yours", "HTTP", "`GET /api/messages/{id}` | yes, in its audience |")
async def not_yours(context: Context) -> None:
    alice, eve = await context.users(2)
    sent = await context.send(alice, context.conversation(alice))
    refusals = []
    for name in (sent["id"], "0123456789abcdef"):
        problem = (await context.get(eve, f"/api/messages/{name}")).problem(404)
        problem.pop("request_id")
        refusals.append(problem)
    same(refusals[0], refusals[1], "the refusals for one that exists and one that does not")


@check("read.stored", "Reading", "`stored` also in the database")
async def stored(context: Context) -> None:
    (alice,) = await context.users(1)
    sent = await context.send(alice, context.conversation(alice))

    async def state() -> str:
        return str((await context.get(alice, f"/api/messages/{sent['id']}")).expect(200)["state"])

    await context.until(state, lambda now: now == "stored", "the message is not stored")
    page = await context.page(alice, None, limit="1")
    same(page["messages"], [sent], "the message, once stored")
