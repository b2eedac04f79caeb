"""Requests whose ``client_id`` was used before, answered with what they came to first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chatsvc.core.errors import Conflict, StoreUnavailable
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended, LogAppender, MessageLog, key_conflict, repeat_of


class ClientIds(Protocol):
    """What the store knows of ``client_id``s that the log has forgotten."""

    async def find_client_id(
        self, sender: str, channel: str, client_id: str, *, after: int
    ) -> tuple[int, bytes] | None:
        """Id and digest of the first record under this key above an id.

        Stored, or a dead letter.

        Raises:
            StoreUnavailable: it cannot be told now.
        """


class Bodies(Protocol):
    """Records by their id."""

    async def body(self, record_id: int, *, reader: str) -> bytes | None:
        """The JSON of a record, for one whom it is for; ``None`` where there is none.

        Raises:
            StoreUnavailable: it cannot be told now.
        """


async def forgotten_use(
    log: LogAppender, client_ids: ClientIds, key: tuple[str, str, str]
) -> tuple[int, bytes] | None:
    """Return id and digest of the record under a key that the log does not know.

    ``None``: it was not used.

    Raises:
        StoreUnavailable: it cannot be told now.
    """
    found = await client_ids.find_client_id(*key, after=log.used_above(key))
    if found is None and not log.forgotten_are_stored:
        raise StoreUnavailable(
            "the store is being filled again from the log: whether this client_id was "
            "used cannot be answered yet",
            retry_after=2.0,
        )
    return found


class Repeats:
    """Answers retries of requests that become one record together with others.

    The log finds a retry by the ``client_id`` of the record itself; of such a record it is that of
    each request (``Record.keys``). And the retry alone does not say what is in the record.

    Each request is given as the draft that it would be alone, with its ``client_id`` and digest.

    Args:
        log: asked what it remembers.
        client_ids: asked for what the log may have forgotten.
        bodies: asked for what is not in the tail any more.
    """

    def __init__(self, log: MessageLog, client_ids: ClientIds, bodies: Bodies) -> None:
        self._log = log
        self._client_ids = client_ids
        self._bodies = bodies

    async def find(self, draft: Draft) -> Appended | None:
        """What the request came to, before anything is decided; ``None``: it may be new.

        The first answer, byte for byte, where log or store have the record. Where neither can
        give it (a dead letter, a store that does not answer), it is made anew from the draft.

        Raises:
            Conflict: the first request under this key has another content.
            StoreUnavailable: whether it was used cannot be told now.
        """
        key = draft.key
        if key is None:
            return None
        used: tuple[int, bytes] | None = self._log.first_use(key)
        if used is None and not self._log.knows_key(key):
            used = await forgotten_use(self._log, self._client_ids, key)
        if used is None:
            return None
        repeat_of(draft, *used)  # another content is told before the store is asked for a body
        try:
            body = await self._bodies.body(used[0], reader=draft.sender)
        except StoreUnavailable:
            body = None
        return repeat_of(draft, *used, body)

    def remembered(self, drafts: Sequence[Draft]) -> list[Appended | Conflict | None]:
        """The same, of what was accepted since: for the step in which they are decided together.

        Returns:
            For each the answer, or what is raised to this request alone, as it is where another of
            these has its key and another content; ``None``: it is new.
        """
        new: dict[tuple[str, str, str], bytes] = {}
        answers: list[Appended | Conflict | None] = []
        for draft in drafts:
            key, digest, answer = draft.key, draft.digest, self._remembered(draft)
            if answer is None and key is not None and new.setdefault(key, digest) != digest:
                answer = key_conflict()
            answers.append(answer)
        return answers

    def _remembered(self, draft: Draft) -> Appended | Conflict | None:
        used = self._log.first_use(draft.key) if draft.key is not None else None
        if used is None:
            return None
        record = self._log.tail.get(used.id)
        try:
            return repeat_of(draft, *used, record.body if record is not None else None)
        except Conflict as exc:
            return exc
