"""``POST /api/messages`` and the data types in it."""

from __future__ import annotations

import re
from typing import Any

from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context, Conversation, conversation_of
from chatsvc_conformance.expect import expect, same, shown
from chatsvc_conformance.tokens import fresh_name

_ID = re.compile(r"[0-9a-f]{16}\Z")
_CREATED_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


def check_message(message: Any, conversation: Conversation, sender: str, content: str) -> None:
    """Require that a value is the message that it should be.

    Raises:
        Failed: it has another form than the protocol gives a message, or is another one.
    """
    expect(isinstance(message, dict), f"a message must be an object: {shown(message)}")
    same(message.get("type"), "message", "type")
    expect(
        _ID.match(str(message.get("id"))), f"id must be 16 hex digits: {shown(message.get('id'))}"
    )
    created = message.get("created_at")
    expect(
        _CREATED_AT.match(str(created)),
        f"created_at must be RFC 3339 in UTC with milliseconds: {shown(created)}",
    )
    same(message.get("channel"), conversation.channel, "channel")
    same(message.get("participants"), conversation.participants, "participants")
    same(message.get("sender"), sender, "sender")
    same(message.get("content"), content, "content")


@check("send.created", "HTTP", "201 and the message; 200 for a repeated `client_id`")
async def created(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    answer = await context.post(alice, conversation, "Hello!")
    check_message(answer.expect(201), conversation, alice.id, "Hello!")


@check("send.location", "Sending", "`Location` says where it can be read")
async def location(context: Context) -> None:
    (alice,) = await context.users(1)
    answer = await context.post(alice, context.conversation(alice))
    message = answer.expect(201)
    where = answer.headers.get("Location", "")
    expect(where, "the 201 must have Location")
    path = context.api.path_of(where, "/api/messages")
    read = (await context.get(alice, path)).expect(200)
    read.pop("state")
    same(read, message, "what is at Location")


@check(
    "send.one-value",
    "Data types",
    "in the 201, in the socket's frame and in history",
)
async def one_value(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    socket = await context.connect(bob)
    sent = await context.send(
        alice,
        conversation,
        'é 𝄞 "\\/ \u2028 </script>',
        client_id=context.client_id(),
        metadata={"n": 1, "f": 1.5, "deep": [None, True, {"$x.y": ""}]},
    )
    (frame,) = await socket.messages(conversation.channel, 1)
    same(frame, sent, "the frame beside the 201")
    page = await context.page(bob, conversation)
    same(page["messages"], [sent], "history beside the 201")


@check(
    "send.optional-fields",
    "Data types",
    "are there only where they were given",
)
async def optional_fields(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    bare = await context.send(alice, conversation)
    expect(
        "client_id" not in bare and "metadata" not in bare,
        f"client_id and metadata must be absent: {shown(bare)}",
    )
    key = context.client_id()
    full = await context.send(alice, conversation, client_id=key, metadata={"mood": "fine"})
    same(full.get("client_id"), key, "client_id")
    same(full.get("metadata"), {"mood": "fine"}, "metadata")


@check(
    "send.participants-are-a-set",
    "Data types",
    '`["bob","alice","bob"]` and `["alice","bob"]` are one conversation',
)
async def participants_are_a_set(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation = context.conversation(alice, bob)
    backwards = list(reversed(conversation.participants))
    first = await context.send(alice, conversation)
    second = await context.send(
        bob, Conversation([*backwards, bob.id, alice.id], conversation.channel)
    )
    for message in (first, second):
        same(message["participants"], conversation.participants, "participants")
        same(message["channel"], conversation.channel, "channel")
    joined = ",".join([*backwards, bob.id])
    page = (await context.get(alice, "/api/messages/get", participants=joined)).expect(200)
    same(page["messages"], [first, second], "the page of the set")


@check(
    "send.channel-key",
    "Data types",
    "The key of a conversation: the ids sorted by code point and joined by commas",
)
async def channel_key(context: Context) -> None:
    (alice,) = await context.users(1)
    end = fresh_name()
    for others in (
        [f"b{end}", f"a{end}", f"B{end}", f"A{end}"],
        [f"user-2-{end}", f"user-10-{end}"],
        [f"z{end}", f"é{end}", f"ü{end}", f"e{end}"],
        # UTF-16 units would put these two the other way round.
        [f"\U0001f600{end}", f"\uff5e{end}"],
    ):
        wanted = conversation_of(alice.id, *others)
        sent = Conversation([*others, alice.id], wanted.channel)
        message = await context.send(alice, sent)
        check_message(message, wanted, alice.id, "hello")


@check(
    "send.long-channel-key",
    "Data types",
    "A key of more than 255 bytes of UTF-8 becomes `,sha256:` and the SHA-256 of those bytes",
)
async def long_channel_key(context: Context) -> None:
    (alice,) = await context.users(1)
    end = fresh_name()
    used = len(alice.id) + 1 + len(end)
    for more, hashed in ((255 - used, False), (256 - used, True)):
        # As many bytes as are left, in two ids of characters of one and two bytes.
        filler = f"{end},{'é' * ((more - 1) // 2)}{'x' * ((more - 1) % 2)}"
        wanted = conversation_of(alice.id, *filler.split(","))
        same(wanted.channel.startswith(",sha256:"), hashed, "the key this check makes is hashed")
        check_message(await context.send(alice, wanted), wanted, alice.id, "hello")


@check("send.ids-ascend", "Data types", "Ids are strictly increasing in the order")
async def ids_ascend(context: Context) -> None:
    alice, bob = await context.users(2)
    held = [context.conversation(alice, bob), context.conversation(alice, bob)]
    ids: list[str] = []
    for number in range(20):
        message = await context.send((alice, bob)[number % 2], held[number // 2 % 2])
        expect(_ID.match(message["id"]), f"id must be 16 hex digits: {message['id']!r}")
        ids.append(message["id"])
    same(ids, sorted(set(ids)), "the ids of sends, one after the other")


@check(
    "send.content-at-its-bound",
    "Data types",
    "`content` is 1 to 16,000 characters of valid Unicode",
)
async def content_at_its_bound(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    max_content = context.limits.content_characters
    for content in ("x", "é" * max_content, " \n\t\r kept as sent \x01\x7f\u200b "):
        message = await context.send(alice, conversation, content)
        same(message["content"], content, "content")


@check(
    "send.metadata-at-its-bound",
    "Data types",
    "is a JSON object of at most 4 KiB, nested at most 5",
)
async def metadata_at_its_bound(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    bounds: list[dict[str, Any]] = [{}, {"x": "y" * 4088}, {"1": {"2": {"3": {"4": {}}}}}]
    for metadata in bounds:
        message = await context.send(alice, conversation, metadata=metadata)
        same(message["metadata"], metadata, "metadata")


@check("send.at-every-bound", "Data types", "1 to 256 of them")
async def at_every_bound(context: Context) -> None:
    (alice,) = await context.users(1)
    end, max_length = fresh_name(), context.limits.user_id_characters
    others = [
        f"{number:03d}{end}".ljust(max_length, "é")
        for number in range(context.limits.participants - 1)
    ]
    conversation = conversation_of(alice.id, *others)
    content = "x" * context.limits.content_characters
    message = await context.send(alice, conversation, content, client_id=context.client_id())
    check_message(message, conversation, alice.id, content)
    page = await context.page(alice, conversation)
    same(page["messages"], [message], "history")


@check("send.to-oneself", "Data types", "A conversation *is* the set of its participants")
async def to_oneself(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = conversation_of(alice.id)
    message = await context.send(alice, conversation, "a note")
    check_message(message, conversation, alice.id, "a note")
    page = await context.page(alice, conversation, limit="1")
    same(page["messages"], [message], "history")
