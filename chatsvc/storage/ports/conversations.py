"""The port by which conversations are listed.

A conversation never goes back: an older record, written again, does not replace a newer
``last_message``.

A group or a room is listed for whoever is or was a member, by the newest of its messages that is
in one of their intervals and not below that one's ``visible_from``; a message that names whom it
is for moves nothing up. Its participants are none.
"""

from __future__ import annotations

import abc
from typing import NamedTuple, Protocol

from chatsvc.core.conversation import Conversation
from chatsvc.core.page import MAX_PAGE_BYTES


class Members(NamedTuple):
    """Who is in a conversation, and the id of its newest record, of whatever kind.

    Of a group or a room nobody is listed, and ``last_record`` is 0 where no record is stored.
    Records that name whom they are for do not count.
    """

    participants: tuple[str, ...]
    last_record: int


class ConversationReader(Protocol):
    """The conversations of users; see the module's text."""

    @abc.abstractmethod
    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        """A user's conversations whose ``last_id`` is below ``before``, newest first.

        ``max_bytes`` bounds their messages as :class:`~chatsvc.core.page.Bounds` does a page's.
        """

    @abc.abstractmethod
    async def members(self, user: str, channel: str) -> Members | None:
        """The members of one of the user's conversations; of a group or a room also after it.

        ``None``, after the same work, for one that does not exist and for one of others.
        """
