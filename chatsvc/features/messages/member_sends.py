"""Sends to the members of a group or a room.

Whether the sender may write is decided by the log's own state, under a guard that names the
sender's membership and the channel's settings: who is removed meanwhile is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from chatsvc.core.errors import FieldError, Forbidden
from chatsvc.core.ids import now_ms
from chatsvc.core.limits import Limits
from chatsvc.core.membership import member_key, settings_key
from chatsvc.core.message import MessageRules, draft_message
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended, MessageLog, repeat_of
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.guards import Guard
from chatsvc.storage.history.repeats import ClientIds, forgotten_use


class MemberSends:
    """Accepts messages to the members of a channel.

    Args:
        log: where what is accepted goes, and whose state says who is a member.
        deciding: makes decisions against that state.
        client_ids: asked for each ``client_id`` that the log may have forgotten.
        limits: the bounds of what a message may hold.
    """

    def __init__(
        self, *, log: MessageLog, deciding: Deciding, client_ids: ClientIds, limits: Limits
    ) -> None:
        self._check = MessageRules(limits).check
        self._log = log
        self._deciding = deciding
        self._client_ids = client_ids

    def submit(
        self,
        sender: str,
        origin: str,
        channel: str,
        content: str,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> asyncio.Future[Appended]:
        """Accept a message of a member, in the order of calls unless the store is asked.

        Raises:
            Invalid: at once; the first thing that is wrong, with its pointer.
            Forbidden: at once, or through the future: the sender is not a member, or is muted. A
                retry of what was accepted before has its first answer all the same.
            LogUnavailable: the state cannot be read now.

        The future raises what that of
        :meth:`~chatsvc.features.messages.service.MessageService.submit` does, and:
            Busy: the sender's membership was changed each time it was decided.
        """
        self._check(content, client_id, metadata)
        draft = draft_message(
            channel=channel,
            participants=(),
            sender=sender,
            content=content,
            origin=origin,
            client_id=client_id,
            metadata=metadata,
        )
        key = draft.key
        if key is not None and not self._log.knows_key(key):
            return asyncio.ensure_future(self._after_asking_store(draft, key))
        return self._deciding.decide_in_order(self._decision_on(draft))

    async def _after_asking_store(self, draft: Draft, key: tuple[str, str, str]) -> Appended:
        found = await forgotten_use(self._log, self._client_ids, key)
        if found is not None:
            return repeat_of(draft, *found)
        return await self._deciding.decide_in_order(self._decision_on(draft))

    def _decision_on(self, draft: Draft) -> Callable[[], Decision]:
        channel, sender, key = draft.channel, draft.sender, draft.key
        guarded = member_key(channel, sender), settings_key(channel)
        log = self._log

        def decide() -> Decision:
            decision = Decision([draft], Guard(log.tail.head, guarded))
            if key is not None and log.uses_key(key):
                return decision  # the log answers it, whether its sender is a member still or not
            _check_may_write(log, channel, sender)
            return decision

        return decide


def _check_may_write(log: MessageLog, channel: str, sender: str) -> None:
    member, known = log.state.member(channel, sender), log.state.channel(channel)
    if member is None or not member.is_present or known is None or known.dissolved:
        raise _forbidden("not_a_member", "you must be a member of the group")
    if member.muted_until > now_ms():
        raise _forbidden("muted", "you must not write while you are muted")


def _forbidden(code: str, detail: str) -> Forbidden:
    return Forbidden(detail, code=code, field_errors=(FieldError("/channel", code, detail),))
