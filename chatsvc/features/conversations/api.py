"""``GET /api/conversations``: its request, its response and its declaration."""

from __future__ import annotations

from typing import Annotated

import msgspec

from chatsvc.api import fields
from chatsvc.api.access import USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.conversation import ConversationPage
from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.limits import Limits
from chatsvc.core.lost import LostRange
from chatsvc.features.conversations.ports import ConversationHistory


class ConversationsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A page of the caller's conversations; ``before`` of a response asks for the next."""

    limit: int = fields.DEFAULT_PAGE
    before: str | None = None


class Conversation(msgspec.Struct, kw_only=True):
    """A conversation with its newest message, as the bytes that the log holds."""

    channel: str
    participants: list[str]
    last_message: Annotated[
        msgspec.Raw, msgspec.Meta(extra_json_schema={"$ref": "#/components/schemas/Message"})
    ]


class Conversations(msgspec.Struct, kw_only=True):
    """A page of conversations, newest first.

    ``before`` is the id that asks for the next page: that of the last conversation's newest
    message; on an empty page, the bound of the request. ``complete`` is false when some may be
    missing for now: the store was unavailable and only the recent conversations could be read,
    or the store is being filled again. ``lost`` is present where messages are lost for good,
    and with them perhaps a conversation.
    """

    conversations: list[Conversation]
    has_more: bool
    before: str | None
    complete: bool
    lost: LostRange | msgspec.UnsetType = msgspec.UNSET


def operations(history: ConversationHistory, limits: Limits) -> tuple[Operation, ...]:
    """Return the operation."""

    def check(caller: Caller, request: ConversationsRequest) -> int:
        """Check the request; return ``before`` as an id, :data:`MAX_ID` where it is not given."""
        fields.check_page_limit(request.limit, limits)
        if request.before is None:
            return MAX_ID
        return fields.read_message_id(request.before, "/before")

    async def handle(caller: Caller, request: ConversationsRequest) -> Reply:
        before = check(caller, request)
        page = await history.conversations(caller.user, before=before, limit=request.limit)
        return Reply(200, _response(page, request.before))

    return (
        Operation(
            name="list_conversations",
            method="GET",
            path="/api/conversations",
            summary="The caller's conversations, newest first",
            access=USER,
            request=ConversationsRequest,
            responses={200: ("The page, newest first.", Conversations)},
            errors=(LogUnavailable, StoreUnavailable),
            handler=handle,
            check=check,
            tag="conversations",
            bounds={
                "limit": fields.page_limit(limits),
                "before": {
                    **fields.MESSAGE_ID,
                    "description": "Only conversations whose newest message has a lower id.",
                },
            },
        ),
    )


def _response(page: ConversationPage, before: str | None) -> Conversations:
    found = page.conversations
    return Conversations(
        conversations=[
            Conversation(
                channel=one.channel,
                participants=list(one.participants),
                last_message=msgspec.Raw(one.last_message),
            )
            for one in found
        ],
        has_more=page.has_more,
        before=format_id(found[-1].last_id) if found else before,
        complete=page.complete,
        lost=LostRange.of(page.lost),
    )
