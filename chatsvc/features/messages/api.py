"""``/api/messages``: the operations, and the bytes of their responses."""

from __future__ import annotations

from typing import Final

import msgspec

from chatsvc.api import fields
from chatsvc.api.access import USER, Caller
from chatsvc.api.conversation_access import NamedConversation
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LogUnavailable,
    NotFound,
    StoreUnavailable,
    TooManyRequests,
)
from chatsvc.core.ids import format_id
from chatsvc.core.limits import Limits
from chatsvc.core.lost import LostRange
from chatsvc.core.message import check_client_id, check_device
from chatsvc.core.page import Page
from chatsvc.features.messages.channels import ConversationSender
from chatsvc.features.messages.model import (
    EXAMPLE_ID,
    HEADER_BOUNDS,
    ONE_CONVERSATION,
    Message,
    MessagePage,
    MessageRequest,
    PageRequest,
    SendHeaders,
    SendRequest,
    StatedMessage,
    page_bounds,
    send_bounds,
)
from chatsvc.features.messages.reading import (
    MessageReader,
    PageQuery,
)

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
DEVICE: Final = "Chatsvc-Device"

_encode = msgspec.json.Encoder().encode

_SEND_DESCRIPTION: Final = (
    "The conversation is named by `participants`, which must include the sender, or by "
    "its key `channel`; a key that begins with `,sha256:` must be that of a conversation "
    "of the caller's. The response is sent once the message is durable. All participants "
    "except the sender receive it at once. With a `client_id` (preferably a UUIDv7) it can "
    "be sent again: the same `client_id` with the same content is the same message."
)
_LOCATION_DOC: Final = {"Location": "Where the message can be read."}


def operations(
    sender: ConversationSender, reader: MessageReader, limits: Limits
) -> tuple[Operation, ...]:
    """Return the operations under ``/api/messages``."""
    return (
        _send(sender, limits),
        _page(reader, limits, "get_conversation", "/api/messages/get", required=True),
        _page(reader, limits, "list_messages", "/api/messages", required=False),
        _message(reader),
    )


def _send(sender: ConversationSender, limits: Limits) -> Operation:
    submit = sender.submit

    async def handle(caller: Caller, request: SendRequest, headers: SendHeaders) -> Reply:
        client_id = request.client_id
        if headers.idempotency_key is not None:
            client_id = _one_client_id(client_id, headers.idempotency_key)
        if headers.device is not None:
            check_device(headers.device, f"/{DEVICE}")
        appended = await submit(
            caller.user,
            headers.device or "",
            request.participants,
            request.content,
            client_id,
            request.metadata,
            request.channel,
        )
        message_id = format_id(appended.id)
        location = f"/api/messages/{message_id}"
        if appended.duplicate:
            replayed = {"Location": location, "Idempotent-Replayed": "true"}
            return Reply(200, appended.body, replayed, message_id)
        return Reply(201, appended.body, {"Location": location}, message_id)

    return Operation(
        name="send_message",
        method="POST",
        path="/api/messages",
        summary="Send a message to a conversation",
        description=_SEND_DESCRIPTION,
        access=USER,
        request=SendRequest,
        headers=SendHeaders,
        header_names={"idempotency_key": IDEMPOTENCY_KEY, "device": DEVICE},
        responses={
            201: ("Accepted, and durable.", Message),
            200: ("Accepted before under this client_id; the first message.", Message),
        },
        response_headers={
            201: _LOCATION_DOC,
            200: _LOCATION_DOC | {"Idempotent-Replayed": "`true`."},
        },
        errors=(Forbidden, Conflict, TooManyRequests, LogUnavailable, StoreUnavailable),
        handler=handle,
        tag="messages",
        bounds=send_bounds(limits) | HEADER_BOUNDS,
        request_schema={"oneOf": ONE_CONVERSATION},
        example={"participants": ["alice", "bob"], "content": "Hello!"},
    )


def _one_client_id(in_body: str | None, in_header: str) -> str:
    check_client_id(in_header, f"/{IDEMPOTENCY_KEY}")
    if in_body is not None and in_body != in_header:
        raise Invalid.at(
            f"/{IDEMPOTENCY_KEY}",
            "client_id_mismatch",
            f"client_id and {IDEMPOTENCY_KEY} must be equal where both are given",
        )
    return in_header


def _page(
    reader: MessageReader, limits: Limits, name: str, path: str, *, required: bool
) -> Operation:
    def parse(caller: Caller, request: PageRequest) -> tuple[PageQuery, NamedConversation | None]:
        page_query = reader.page_query(request)
        conversation = reader.conversation(caller.user, request)
        if conversation is None and required:
            raise Invalid.at(
                "/participants", "missing", "one of participants and channel must be given"
            )
        return page_query, conversation

    def check(caller: Caller, request: PageRequest) -> None:
        parse(caller, request)

    async def handle(caller: Caller, request: PageRequest) -> Reply:
        page_query, conversation = parse(caller, request)
        page = await reader.page(caller.user, conversation, page_query)
        return Reply(200, page_body(page, page_query))

    return Operation(
        name=name,
        method="GET",
        path=path,
        summary=(
            "A page of one conversation" if required else "A page of all the caller's messages"
        ),
        description=(
            "The newest messages; with `before` the newest below it, with `after` the oldest "
            "above it, with `around` both sides of it. Bounds are exclusive and need not exist."
            + ("" if required else " Without participants and channel, of every conversation.")
        ),
        access=USER,
        request=PageRequest,
        responses={200: ("The page, oldest first.", MessagePage)},
        errors=(Forbidden, LogUnavailable, StoreUnavailable),
        handler=handle,
        check=check,
        tag="messages",
        bounds=page_bounds(limits),
        example={"participants": "alice,bob"} if required else {},
    )


def _message(reader: MessageReader) -> Operation:
    async def handle(caller: Caller, request: MessageRequest) -> Reply:
        entry, state = await reader.message(caller.user, fields.read_message_id(request.id, "/id"))
        body = entry.body[:-1] + f',"state":"{state}"}}'.encode()
        return Reply(200, body, message_id=request.id)

    return Operation(
        name="get_message",
        method="GET",
        path="/api/messages/{id}",
        summary="One message, and whether it is stored",
        access=USER,
        request=MessageRequest,
        responses={200: ("The message.", StatedMessage)},
        errors=(NotFound, LogUnavailable, StoreUnavailable),
        handler=handle,
        tag="messages",
        bounds={"id": fields.MESSAGE_ID},
        example={"id": EXAMPLE_ID},
    )


def page_body(page: Page, page_query: PageQuery) -> bytes:
    """Return the page as JSON; the bytes of the messages are not encoded again."""
    entries = page.entries
    if entries:
        first, last = (f'"{format_id(entry.id)}"' for entry in (entries[0], entries[-1]))
    else:
        first = last = "null" if page_query.given is None else f'"{page_query.given}"'
    tail = (
        f'],"has_more":{_bool(page.has_more)},"before":{first},"after":{last},'
        f'"complete":{_bool(page.complete)}'
    )
    lost = LostRange.of(page.lost)
    tail += f',"lost":{_encode(lost).decode()}}}' if isinstance(lost, LostRange) else "}"
    return b'{"messages":[' + b",".join([entry.body for entry in entries]) + tail.encode()


def _bool(value: bool) -> str:
    return "true" if value else "false"
