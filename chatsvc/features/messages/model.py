"""The requests and responses of ``/api/messages``, as structs."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from chatsvc.api import fields
from chatsvc.core.limits import Limits
from chatsvc.core.lost import LostRange

EXAMPLE_ID: Final = "019aa7c3f2100000"

MessageId = Annotated[
    str,
    msgspec.Meta(
        pattern=fields.MESSAGE_ID_PATTERN,
        examples=[EXAMPLE_ID],
        description="16 lower-case hex digits: the position in the log. Ids sort as strings.",
    ),
]


class SendRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A message to a conversation.

    Exactly one of ``participants``, which must include the sender, and ``channel`` names it.
    """

    participants: list[str] | msgspec.UnsetType = msgspec.UNSET
    channel: str | msgspec.UnsetType = msgspec.UNSET
    content: str
    client_id: str | None = None
    metadata: dict[str, Any] | None = None


class SendHeaders(msgspec.Struct, gc=False):
    """The headers of a send; ``idempotency_key`` is another place for ``client_id``."""

    idempotency_key: str | None = None
    device: str | None = None


class PageRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A page of messages: at most one of ``before``, ``after`` and ``around``.

    ``participants`` are user ids joined by commas, in any order.
    """

    participants: str | None = None
    channel: str | None = None
    limit: int = fields.DEFAULT_PAGE
    before: str | None = None
    after: str | None = None
    around: str | None = None


class MessageRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The message to return."""

    id: str


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message: the same JSON value in the 201, in the socket's frame and in history.

    Members may be added: ignore those that you do not know.
    """

    type: Literal["message"]
    id: MessageId
    created_at: Annotated[
        str,
        msgspec.Meta(
            examples=["2026-11-21T15:42:10.369Z"], extra_json_schema={"format": "date-time"}
        ),
    ]
    channel: Annotated[str, msgspec.Meta(examples=["alice,bob"])]
    sender: Annotated[str, msgspec.Meta(examples=["alice"])]
    content: Annotated[str, msgspec.Meta(examples=["Hello!"])]
    participants: Annotated[list[str], msgspec.Meta(examples=[["alice", "bob"]])]
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class StatedMessage(Message, kw_only=True, omit_defaults=True):
    """A message and its state.

    ``accepted``: durable in the log; ``stored``: also in the store.
    """

    state: Literal["accepted", "stored"]


class MessagePage(msgspec.Struct, kw_only=True):
    """A page of messages, oldest first.

    ``has_more`` is about the direction of the request. ``before`` and ``after`` are the ids of
    the first and the last message of the page, which ask for the next page; on an empty page,
    the bound of the request. ``complete`` is false when messages of the range may be missing
    for now: the store was unavailable and only the recent messages could be read, or the store
    is being filled again. ``lost`` is present where some are lost for good.
    """

    messages: list[Message]
    has_more: bool
    before: MessageId | None
    after: MessageId | None
    complete: bool
    lost: LostRange | msgspec.UnsetType = msgspec.UNSET


ONE_CONVERSATION: Final[list[dict[str, Any]]] = [
    {"required": ["participants"]},
    {"required": ["channel"]},
]
"""``oneOf`` of a send: exactly one of them names the conversation."""


def send_bounds(limits: Limits) -> dict[str, fields.Keywords]:
    """Return the schemas of the fields of :class:`SendRequest`, which ``send`` frames share."""
    return {
        "participants": {"minItems": 1, "maxItems": limits.participants},
        "participants/items": {
            **fields.user_id(limits),
            "description": (
                "A user id: Unicode in NFC, no comma, no control character, no white space "
                "at either end. Compared byte by byte."
            ),
        },
        "channel": {
            **fields.CHANNEL,
            "description": "The conversation's key, instead of `participants`.",
        },
        "content": fields.content(limits),
        "client_id": fields.CLIENT_ID,
        "metadata": {
            "description": (
                f"Not interpreted: at most {limits.metadata_bytes} bytes as compact JSON, "
                f"nested at most {limits.metadata_depth} levels deep."
            ),
        },
    }


HEADER_BOUNDS: Final[dict[str, fields.Keywords]] = {
    "headers/idempotency_key": fields.CLIENT_ID,
    "headers/device": fields.DEVICE,
}
"""The schemas of the fields of :class:`SendHeaders`."""


def page_bounds(limits: Limits) -> dict[str, fields.Keywords]:
    """Return the schemas of the fields of :class:`PageRequest`."""

    def message_id(description: str) -> fields.Keywords:
        return {**fields.MESSAGE_ID, "description": description}

    return {
        "participants": {
            "minLength": 1,
            "description": "User ids joined by commas, in any order.",
        },
        "channel": {
            **fields.CHANNEL,
            "description": "The conversation's key, as in its messages.",
        },
        "limit": fields.page_limit(limits),
        "before": message_id("Only messages with a lower id, the newest of them."),
        "after": message_id("Only messages with a higher id, the oldest of them."),
        "around": message_id("The messages on both sides of this id."),
    }
