"""What ``/api/conversations`` takes and answers, as structs."""

from __future__ import annotations

from typing import Final

import msgspec

from chatsvc.core.lost import LostRange

DEFAULT_PAGE: Final = 100


class ConversationsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A page of the caller's conversations; ``before`` is the answer's own, to go on."""

    limit: int = DEFAULT_PAGE
    before: str | None = None


class Conversation(msgspec.Struct, kw_only=True):
    """A conversation by its newest message, which is kept as the bytes it has."""

    channel: str
    participants: list[str]
    last_message: msgspec.Raw


class Conversations(msgspec.Struct, kw_only=True):
    """Newest first. ``before`` is the id to ask for the next page with: that of the last
    conversation's newest message; of an empty page, the bound that was given. ``complete``
    is false when some may be missing for now: the store was away and only the recent ones
    could be read, or it is being filled again. ``lost`` is there where messages are gone for
    good, and with them perhaps a conversation."""

    conversations: list[Conversation]
    has_more: bool
    before: str | None
    complete: bool
    lost: LostRange | msgspec.UnsetType = msgspec.UNSET
