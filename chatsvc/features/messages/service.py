"""Accept a message: who may send it, who receives it, and whether it was sent before.

:meth:`MessageService.submit` is the one way in, for HTTP and for sockets alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final, Protocol

from chatsvc.core.errors import FieldError, Forbidden
from chatsvc.core.limits import Limits
from chatsvc.core.message import MessageRules, draft_message
from chatsvc.core.participants import channel_key, normalize_participants
from chatsvc.core.record import Draft
from chatsvc.core.sized_cache import SizedCache
from chatsvc.log.base import Appended, LogAppender, repeat_of
from chatsvc.storage.history.repeats import ClientIds, forgotten_use

KNOWN_NAMES: Final = 65_536
"""How many user ids the remembered sets of participants hold together."""


class Policy(Protocol):
    """Whether a sender may speak to a set of people; the application's own rules."""

    def check(self, sender: str, participants: tuple[str, ...]) -> Awaitable[None] | None:
        """``None`` where the answer is yes at once; otherwise something to await.

        Raises:
            Forbidden: at once, or when awaited.
        """


class AllowAll:
    """Everybody may speak to everybody."""

    def check(self, sender: str, participants: tuple[str, ...]) -> None:
        """Yes."""


class MessageService:
    """Accept messages, from HTTP and from sockets alike.

    Args:
        log: where what is accepted goes.
        policy: who may send to whom.
        client_ids: asked for each ``client_id`` that the log may have forgotten.
        limits: the bounds of what a message may hold.
    """

    def __init__(
        self,
        *,
        log: LogAppender,
        policy: Policy,
        client_ids: ClientIds,
        limits: Limits,
    ) -> None:
        self._log = log
        self._policy = policy
        self._client_ids = client_ids
        self._limits = limits
        self._check = MessageRules(limits).check
        self._known: SizedCache[tuple[str, ...], tuple[tuple[str, ...], str]]
        self._known = SizedCache(KNOWN_NAMES)

    def submit(
        self,
        sender: str,
        origin: str,
        participants: list[str],
        content: str,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> asyncio.Future[Appended]:
        """Accept a message, in the order of calls unless the policy or the store is waited for.

        ``origin``: the connection or device that sends; empty if there is neither.

        Raises:
            Invalid: at once; the first thing that is wrong, with its pointer.
            Forbidden: at once, or through the future: not the sender's to say here.

        The future raises:
            Conflict: this ``client_id`` was used for another content.
            TooManyRequests: too much of the sender's waits, or too many conversations were begun.
            LogUnavailable: a bound is reached; nothing was kept.
            StoreUnavailable: whether this ``client_id`` was used cannot be told now.
        """
        raw = tuple(participants)
        known = self._known.get(raw)
        people, channel = known if known is not None else self._conversation(raw)
        self._check(content, client_id, metadata)
        if sender not in people:
            raise _not_a_participant()
        permission = self._policy.check(sender, people)
        draft = draft_message(
            channel=channel,
            participants=people,
            sender=sender,
            content=content,
            origin=origin,
            client_id=client_id,
            metadata=metadata,
        )
        if permission is not None:
            return asyncio.ensure_future(self._once_permitted(permission, draft))
        if client_id is not None:
            key = (sender, channel, client_id)
            if not self._log.knows_key(key):
                return asyncio.ensure_future(self._after_asking_store(draft, key))
        return self._log.append(draft)

    def conversation(self, participants: list[str]) -> tuple[tuple[str, ...], str]:
        """The normalized set and its channel key.

        Raises:
            Invalid: at ``/participants`` or an entry of it.
        """
        raw = tuple(participants)
        return self._known.get(raw) or self._conversation(raw)

    def _conversation(self, raw: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
        people = normalize_participants(
            raw,
            max_participants=self._limits.participants,
            max_user_id=self._limits.user_id_characters,
        )
        found = (people, channel_key(people))
        self._known.add(raw, found, len(raw))
        return found

    async def _once_permitted(self, permission: Awaitable[None], draft: Draft) -> Appended:
        await permission
        key = draft.key
        if key is not None and not self._log.knows_key(key):
            return await self._after_asking_store(draft, key)
        return await self._log.append(draft)

    async def _after_asking_store(self, draft: Draft, key: tuple[str, str, str]) -> Appended:
        found = await forgotten_use(self._log, self._client_ids, key)
        return await self._log.append(draft) if found is None else repeat_of(draft, *found)


def _not_a_participant() -> Forbidden:
    detail = "participants must include the sender"
    return Forbidden(
        detail,
        code="sender_not_participant",
        field_errors=(FieldError("/participants", "sender_not_participant", detail),),
    )
