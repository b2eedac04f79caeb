"""The same ``client_id`` is the same message, however it is sent again."""

from __future__ import annotations

import asyncio
from typing import Any

from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context, Conversation
from chatsvc_conformance.expect import expect, same, shown
from chatsvc_conformance.http import Answer
from chatsvc_conformance.tokens import fresh_name

_AGAIN = (
    "the same content and metadata again: 200 with the first message and "
    '`Idempotent-Replayed: true`, or `"duplicate": true` in the `ack`'
)
_ANOTHER = "other content or metadata: 409, or an `error` frame, with the first message's `id`"


def _replayed(answer: Answer, first: Any) -> None:
    same(answer.expect(200), first, "the message of the 200")
    same(answer.headers.get("Idempotent-Replayed"), "true", "Idempotent-Replayed")


def _frame(conversation: Conversation, content: str, client_id: str) -> dict[str, Any]:
    return {
        "type": "send",
        "participants": conversation.participants,
        "content": content,
        "client_id": client_id,
    }


@check("idempotency.http", "Data types", _AGAIN)
async def over_http(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation, key = context.conversation(alice), context.client_id()
    first = await context.send(alice, conversation, client_id=key, metadata={"a": 1, "b": 2})
    again = await context.post(alice, conversation, client_id=key, metadata={"b": 2, "a": 1})
    _replayed(again, first)
    page = await context.page(alice, conversation)
    same(page["messages"], [first], "history")


@check("idempotency.socket", "Data types", _AGAIN)
async def over_the_socket(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation, key = context.conversation(alice), context.client_id()
    socket = await context.connect(alice)
    first = await socket.ask(_frame(conversation, "hello", key))
    again = await socket.ask(_frame(conversation, "hello", key))
    expect(
        not first.get("duplicate", False), f"the first ack must not be a duplicate: {shown(first)}"
    )
    same(again.get("duplicate"), True, "duplicate in the second ack")
    same(again["id"], first["id"], "the id of the second ack")
    same(again["created_at"], first["created_at"], "created_at of the second ack")


@check("idempotency.either-way", "Data types", "is the same message, however often it is sent")
async def either_way(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    socket = await context.connect(alice)
    over_http, over_socket = context.client_id(), context.client_id()
    first = await context.send(alice, conversation, client_id=over_http)
    ack = await socket.ask(_frame(conversation, "hello", over_http))
    same((ack["id"], ack.get("duplicate")), (first["id"], True), "the ack of what HTTP sent")
    ack = await socket.ask(_frame(conversation, "hello", over_socket))
    again = await context.post(alice, conversation, client_id=over_socket)
    same(again.expect(200)["id"], ack["id"], "the id over HTTP of what the socket sent")
    page = await context.page(alice, conversation)
    same([m["id"] for m in page["messages"]], [first["id"], ack["id"]], "history")


@check("idempotency.in-flight", "Data types", "is the same message, however often it is sent")
async def in_flight(context: Context) -> None:
    alice, bob = await context.users(2)
    conversation, key = context.conversation(alice, bob), context.client_id()
    socket, listener = await context.connect(alice), await context.connect(bob)
    answers: list[Any] = await asyncio.gather(
        *(context.post(alice, conversation, client_id=key) for _ in range(8)),
        *(socket.ask(_frame(conversation, "hello", key)) for _ in range(8)),
    )
    ids, firsts = set(), 0
    for answer in answers:
        if isinstance(answer, Answer):
            ids.add(answer.expect(200, 201)["id"])
            firsts += answer.status == 201
        else:
            same(answer["type"], "ack", "the answer on the socket")
            ids.add(answer["id"])
            firsts += not answer.get("duplicate", False)
    same(len(ids), 1, "different ids for one client_id")
    same(firsts, 1, "answers that say it was the first")
    end = await context.send(alice, conversation, "the end")
    page = await context.page(alice, conversation)
    same([m["id"] for m in page["messages"]], [*ids, end["id"]], "history")
    got = await listener.first(lambda frame: frame.get("id") == end["id"], "the last message")
    same([m["id"] for m in listener.got(got["channel"])], [*ids, end["id"]], "what was delivered")


@check("idempotency.conflict-http", "Data types", _ANOTHER)
async def conflict_http(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation, key = context.conversation(alice), context.client_id()
    first = await context.send(alice, conversation, client_id=key)
    for more in ({"content": "another"}, {"content": "hello", "metadata": {"x": 1}}):
        answer = await context.post(alice, conversation, client_id=key, **more)
        same(answer.problem(409).get("id"), first["id"], "the id in the 409")
    page = await context.page(alice, conversation)
    same(page["messages"], [first], "history")


@check("idempotency.conflict-socket", "Data types", _ANOTHER)
async def conflict_socket(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation, key = context.conversation(alice), context.client_id()
    socket = await context.connect(alice)
    first = await socket.ask(_frame(conversation, "hello", key))
    error = await socket.ask(_frame(conversation, "another", key))
    same(error["type"], "error", "the answer to another content")
    same(error.get("id"), first["id"], "the id in the error")
    await socket.alive()


@check(
    "idempotency.scope",
    "Data types",
    "from the same sender in the same conversation",
)
async def scope(context: Context) -> None:
    alice, bob = await context.users(2)
    key = context.client_id()
    one, other = context.conversation(alice, bob), context.conversation(alice, bob)
    sent = [
        await context.send(alice, one, client_id=key),
        await context.send(bob, one, client_id=key),
        await context.send(alice, other, client_id=key),
    ]
    same(len({message["id"] for message in sent}), 3, "messages")


@check(
    "idempotency.header",
    "Sending",
    "The `client_id` may be in the header `Idempotency-Key` instead",
)
async def header(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation, key = context.conversation(alice), context.client_id()
    first = await context.send(alice, conversation, headers={"Idempotency-Key": key})
    same(first.get("client_id"), key, "client_id")
    _replayed(await context.post(alice, conversation, client_id=key), first)
    both = {"Idempotency-Key": key}
    _replayed(await context.post(alice, conversation, client_id=key, headers=both), first)


@check("idempotency.header-differs", "Sending", "in both, and different, is 422")
async def header_differs(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    headers = {"Idempotency-Key": context.client_id()}
    answer = await context.post(alice, conversation, client_id=context.client_id(), headers=headers)
    answer.problem(422)
    page = await context.page(alice, conversation)
    same(page["messages"], [], "history")


@check("idempotency.any-string", "Data types", "1 to 64 printable ASCII characters")
async def any_string(context: Context) -> None:
    (alice,) = await context.users(1)
    conversation = context.conversation(alice)
    end = fresh_name()
    for key in (" ", "~", f"!\"#$%&'()*+,/:;<=>?@[\\]^`|{end}"[:64], "x" * 64):
        first = await context.send(alice, conversation, client_id=key)
        _replayed(await context.post(alice, conversation, client_id=key), first)
