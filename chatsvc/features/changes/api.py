"""``GET /api/changes``: its request, its response and its declaration."""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple

import msgspec

from chatsvc.api import fields
from chatsvc.api.access import USER, Caller
from chatsvc.api.conversation_access import NamedConversation, named_by_key
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import Forbidden, LogUnavailable, StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.limits import Limits
from chatsvc.core.lost import LostRange
from chatsvc.core.page import Bounds, RecordPage
from chatsvc.features.changes.service import ChangeReader

_DESCRIPTION: Final = (
    "Records of every kind as a resume sends them: messages, and what changed them or their "
    "conversations. The oldest above `after`; the next page is asked for with `up_to`. A page may "
    "have no frames and `has_more`: of the `kinds` asked for there were none among those that were "
    "looked at."
)
_encode = msgspec.json.Encoder().encode


class ChangesRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A page of the caller's records."""

    after: str | None = None
    channel: str | None = None
    kinds: str | None = None
    limit: int = fields.DEFAULT_PAGE


class Changes(msgspec.Struct, kw_only=True):
    """A page of records, oldest first, in the frames in which they went out live.

    ``up_to`` is the last id that was looked at. ``complete`` is false when records of the range
    may be missing for now: the store is being filled again. ``lost`` is present where some are
    lost for good.
    """

    frames: list[
        Annotated[
            dict[str, Any],
            msgspec.Meta(
                description="A frame of a record: its `type` is its kind, and it has an `id`."
            ),
        ]
    ]
    up_to: Annotated[str, msgspec.Meta(pattern=fields.MESSAGE_ID_PATTERN)]
    has_more: bool
    complete: bool
    lost: LostRange | msgspec.UnsetType = msgspec.UNSET


class _Query(NamedTuple):
    bounds: Bounds
    conversation: NamedConversation | None
    kinds: frozenset[str] | None


def operations(reader: ChangeReader, limits: Limits) -> tuple[Operation, ...]:
    """Return the operation."""

    def parse(caller: Caller, request: ChangesRequest) -> _Query:
        fields.check_page_limit(request.limit, limits)
        after = 0 if request.after is None else fields.read_message_id(request.after, "/after")
        named = request.channel
        conversation = None if named is None else named_by_key(caller.user, named)
        kinds = None if request.kinds is None else fields.read_kinds(request.kinds)
        return _Query(Bounds(request.limit, after=after, newest=False), conversation, kinds)

    def check(caller: Caller, request: ChangesRequest) -> None:
        parse(caller, request)

    async def handle(caller: Caller, request: ChangesRequest) -> Reply:
        query = parse(caller, request)
        page = await reader.page(caller.user, query.conversation, query.bounds, query.kinds)
        return Reply(200, _body(page))

    return (
        Operation(
            name="list_changes",
            method="GET",
            path="/api/changes",
            summary="The caller's records of every kind, oldest first",
            description=_DESCRIPTION,
            access=USER,
            request=ChangesRequest,
            responses={200: ("The page, oldest first.", Changes)},
            errors=(Forbidden, LogUnavailable, StoreUnavailable),
            handler=handle,
            check=check,
            tag="changes",
            bounds={
                "after": {**fields.MESSAGE_ID, "description": "Only records with a higher id."},
                "channel": {**fields.CHANNEL, "description": "Only those of one conversation."},
                "kinds": {**fields.KINDS, "description": "Only those kinds, joined by commas."},
                "limit": fields.page_limit(limits),
            },
        ),
    )


def _body(page: RecordPage) -> bytes:
    """Return the page as JSON; the bytes of the frames are not encoded again."""
    rest = {
        "up_to": format_id(page.up_to),
        "has_more": page.has_more,
        "complete": page.complete,
    }
    lost = LostRange.of(page.lost)
    members = _encode(rest if lost is msgspec.UNSET else rest | {"lost": lost})
    return b'{"frames":[' + b",".join([one.body for one in page.entries]) + b"]," + members[1:]
