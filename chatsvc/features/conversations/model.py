"""The request and the response of ``/api/conversations``, as structs."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from chatsvc.core.lost import LostRange

DEFAULT_PAGE: Final = 100


class ConversationsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A page of the caller's conversations; ``before`` of a response asks for the next."""

    limit: int = DEFAULT_PAGE
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
