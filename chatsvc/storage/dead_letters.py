"""What an operator does with dead letters: look at them, try again, let them go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.ids import format_id, now_ms, uuid7_ms
from chatsvc.core.record import Record, unpack
from chatsvc.storage.ports.client_ids import ClientIdReader
from chatsvc.storage.ports.dead_letters import DeadLetter, HasDeadLetters
from chatsvc.storage.ports.messages import MessageWriter

DAMAGED: Final = "log_damaged"
"""The code of a letter whose bytes are not what was accepted: its row failed its check."""

_DAMAGED_REASON: Final = (
    "its bytes failed their checksum in the log: they are not what was accepted, and never "
    "become history; look at it with show, have it sent again, then drop it"
)

_logger = structlog.get_logger("chatsvc.dead_letters")


class Replay(NamedTuple):
    """What became of a letter: stored and gone, or still here for this ``reason``."""

    id: int
    stored: bool
    reason: str | None = None


class ReplayStore(MessageWriter, ClientIdReader, HasDeadLetters, Protocol):
    """A store that dead letters are stored in again."""


class DeadLetterAdmin:
    """The operator's commands on the dead letters of an open store.

    Every method may raise :class:`~chatsvc.core.errors.StoreUnavailable`.
    """

    def __init__(self, store: ReplayStore) -> None:
        self._store = store
        self._letters = store.dead_letters

    async def count(self) -> int:
        """How many there are."""
        return await self._letters.count()

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[DeadLetter]:
        """Ascending by id."""
        return await self._letters.list(after=after, limit=limit)

    async def all(self) -> AsyncIterator[DeadLetter]:
        """Every one, ascending by id."""
        after = 0
        while page := await self._letters.list(after=after, limit=100):
            for letter in page:
                yield letter
            after = page[-1].id

    async def show(self, letter_id: int) -> DeadLetter | None:
        """One of them, with its bytes."""
        return await self._letters.get(letter_id)

    async def replay(self, ids: Sequence[int] | None = None) -> Sequence[Replay]:
        """Store them again, those named or all; what is stored is dropped.

        A letter of the code :data:`DAMAGED` is kept: nobody sent what its bytes say now.

        Writing is idempotent, so a replay that was cut off can be repeated. An id that
        is not there is passed over.
        """
        if ids is None:
            return [await self._replay(letter) async for letter in self.all()]
        found = [await self._letters.get(letter_id) for letter_id in ids]
        return [await self._replay(letter) for letter in found if letter is not None]

    async def drop(self, ids: Sequence[int]) -> int:
        """Remove for good; how many there were."""
        dropped = await self._letters.drop(ids)
        _logger.warning(
            "dead_letters_dropped",
            count=dropped,
            message_ids=[format_id(letter_id) for letter_id in ids],
        )
        return dropped

    async def _replay(self, letter: DeadLetter) -> Replay:
        if letter.code == DAMAGED:
            return Replay(letter.id, False, _DAMAGED_REASON)
        try:
            record = unpack(letter.id, letter.data)
        except (LogDamaged, VersionTooNew) as exc:
            return Replay(letter.id, False, str(exc))
        again = await self._accepted_again(record)
        if again is not None:
            reason = f"its client_id was accepted again, as message {format_id(again)}: drop it"
            return Replay(letter.id, False, reason)
        rejections = await self._store.write([record])
        if rejections:
            _, code, reason = rejections[0]
            await self._letters.put([letter._replace(code=code, reason=reason, at_ms=now_ms())])
            return Replay(letter.id, False, reason)
        await self._letters.drop([letter.id])
        _logger.info("dead_letter_stored", message_id=format_id(letter.id))
        return Replay(letter.id, True)

    async def _accepted_again(self, record: Record) -> int | None:
        """The id of another stored record under the record's key, where there must be none.

        A ``client_id`` that is no UUIDv7 may be used again after a while.
        """
        if record.client_id is None or uuid7_ms(record.client_id) is None:
            return None
        key = (record.sender, record.channel, record.client_id)
        found = await self._store.find_client_id(*key, dead_letters=False)
        return found[0] if found is not None and found[0] != record.id else None
