"""Read pages and single messages, for the users who may read them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chatsvc.api.conversation_access import (
    ConversationLookup,
    NamedConversation,
    named_by_key,
    require_participant,
)
from chatsvc.api.fields import check_page_limit, read_message_id
from chatsvc.core.errors import Invalid, NotFound, not_a_participant
from chatsvc.core.limits import Limits
from chatsvc.core.membership import is_member_channel
from chatsvc.core.page import Bounds, Entry, Page
from chatsvc.core.participants import channel_key, normalize_participants
from chatsvc.features.messages.model import PageRequest


class History(ConversationLookup, Protocol):
    """The source of messages: the store up to the watermark, then the log's tail.

    Every method may raise :class:`~chatsvc.core.errors.StoreUnavailable` and
    :class:`~chatsvc.core.errors.HistoryBusy`, and :class:`~chatsvc.core.errors.LogUnavailable`
    where it cannot be told who is in which groups. Reads take turns by ``reader``, the user.
    """

    async def channel_page(self, channel: str, bounds: Bounds, *, reader: str = "") -> Page: ...

    async def user_page(self, user: str, bounds: Bounds) -> Page: ...

    async def channel_around(
        self, channel: str, message_id: int, limit: int, *, reader: str = ""
    ) -> Page: ...

    async def user_around(self, user: str, message_id: int, limit: int) -> Page: ...

    async def get(self, message_id: int, *, reader: str = "") -> tuple[Entry, str] | None:
        """Return a message; of a group or a room only one that the reader is shown."""


class PageQuery(NamedTuple):
    """The id range of a page request. With ``around``, the ids in ``bounds`` are not used.

    ``given`` is the bound of the request, as text.
    """

    bounds: Bounds
    around: int | None
    given: str | None


class MessageReader:
    """Read what a user may read; everything else gets the same 403."""

    def __init__(self, *, history: History, limits: Limits) -> None:
        self._history = history
        self._limits = limits

    def page_query(self, request: PageRequest) -> PageQuery:
        """Check limit and bounds; return the page query.

        Raises:
            Invalid: at ``/limit``, or at the bound that is wrong or superfluous.
        """
        check_page_limit(request.limit, self._limits)
        given = [
            (name, value)
            for name, value in (
                ("before", request.before),
                ("after", request.after),
                ("around", request.around),
            )
            if value is not None
        ]
        if len(given) > 1:
            raise Invalid.at(
                f"/{given[1][0]}",
                "one_bound",
                "only one of before, after and around must be given",
            )
        if not given:
            return PageQuery(Bounds(request.limit), None, None)
        name, text = given[0]
        position = read_message_id(text, f"/{name}")
        if name == "before":
            return PageQuery(Bounds(request.limit, before=position), None, text)
        if name == "after":
            return PageQuery(Bounds(request.limit, after=position, newest=False), None, text)
        return PageQuery(Bounds(request.limit), position, text)

    def conversation(self, user: str, request: PageRequest) -> NamedConversation | None:
        """Return the conversation that the request names, or ``None`` where it names none.

        Raises:
            Invalid: at ``/participants`` or ``/channel``.
            Forbidden: the user is not one of the participants.
        """
        if request.participants is not None:
            if request.channel is not None:
                raise Invalid.at(
                    "/channel",
                    "one_conversation",
                    "participants and channel must not be given together",
                )
            people = normalize_participants(
                request.participants.split(",") if request.participants else [],
                max_participants=self._limits.participants,
                max_user_id=self._limits.user_id_characters,
            )
            if user not in people:
                raise not_a_participant("/participants")
            return NamedConversation(channel_key(people), True)
        if request.channel is None:
            return None
        return named_by_key(user, request.channel)

    async def page(
        self, user: str, conversation: NamedConversation | None, page_query: PageQuery
    ) -> Page:
        """Return a page of one conversation, or of all the user's where it is ``None``.

        Raises:
            Forbidden: the user has no such conversation.
            StoreUnavailable: the messages are in the store, which is unavailable.
        """
        if conversation is None:
            if page_query.around is not None:
                return await self._history.user_around(
                    user, page_query.around, page_query.bounds.limit
                )
            return await self._history.user_page(user, page_query.bounds)
        channel = conversation.channel
        await require_participant(self._history, user, conversation)
        if page_query.around is not None:
            return await self._history.channel_around(
                channel, page_query.around, page_query.bounds.limit, reader=user
            )
        return await self._history.channel_page(channel, page_query.bounds, reader=user)

    async def message(self, user: str, message_id: int) -> tuple[Entry, str]:
        """Return one message, and ``accepted`` or ``stored``.

        Raises:
            NotFound: there is none, or the user is not a participant: the same answer.
            StoreUnavailable: it is not in the log's tail, and the store is unavailable.
        """
        found = await self._history.get(message_id, reader=user)
        if found is None or not _may_read(user, found[0]):
            raise NotFound("unknown message: none of yours has this id")
        return found


def _may_read(user: str, found: Entry) -> bool:
    """Whether a message that history returned is the user's."""
    return user in found.audience or is_member_channel(found.channel)
