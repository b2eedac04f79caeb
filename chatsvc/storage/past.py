"""What a store can tell a log of client ids that it never knew, or has lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

import structlog

from chatsvc.core.ids import MAX_ID, id_at, id_ms, now_ms, uuid7_ms
from chatsvc.log.base import StoreAttachment
from chatsvc.log.key_bounds import SENDERS
from chatsvc.storage.client_ids import client_ids_of, listed_above_ms
from chatsvc.storage.letter_records import record_of
from chatsvc.storage.ports.client_ids import ClientIdAt, ClientIdReader
from chatsvc.storage.ports.dead_letters import HasDeadLetters

MAX_READ: Final = 500_000
"""Client ids that are read one by one, those of records that have none included."""
_AT_ONCE: Final = 1000
_ANY_TIME: Final = id_ms(MAX_ID)

_logger = structlog.get_logger("chatsvc.store")


class ClientIdHistory(ClientIdReader, HasDeadLetters, Protocol):
    """A store, as far as it knows of client ids."""


async def learn_past(log: StoreAttachment, store: ClientIdHistory) -> None:
    """Let the log know which client ids the store may hold that it never knew itself.

    Every record bounds its own ``client_id``, or is listed as minted ahead. But where the ids
    of the records are ahead of the clock, because it was wrong once, that bound is of a time
    to come, and all would be looked up until then. So the records that are ahead are read,
    and their senders have bounds of their own. The clock decides only which those are.

    Raises:
        StoreUnavailable: it does not answer.
    """
    if not log.past_is_unknown:
        return
    since_ms = now_ms()
    newest_ms, listed = await store.past_client_ids(limit=SENDERS + 1, since_ms=since_ms)
    latest = dict(listed)
    if newest_ms > since_ms and not await _read_ahead(store, since_ms, latest):
        since_ms = _ANY_TIME
        newest_ms, listed = await store.past_client_ids(limit=SENDERS + 1, since_ms=since_ms)
        latest = dict(listed)
    log.learn_past(listed_above_ms(newest_ms, since_ms), _ordered(latest))


async def _read_ahead(store: ClientIdHistory, since_ms: int, latest: dict[str, int]) -> bool:
    """Add the senders of what was accepted later, by its ids; ``False`` if that is too much."""
    bound = listed_above_ms(_ANY_TIME, since_ms)
    count = 0
    async for one in _above(store, id_at(since_ms + 1) - 1):
        count += 1
        if count > MAX_READ:
            _logger.warning("client_ids_ahead_of_clock", messages=count)
            return False
        minted_ms = uuid7_ms(one.client_id) if one.client_id is not None else None
        if minted_ms is None or minted_ms <= max(bound, latest.get(one.sender, 0)):
            continue
        latest[one.sender] = minted_ms
        if len(latest) > 4 * SENDERS:
            kept = _ordered(latest)
            latest.clear()
            latest.update(kept)
    return True


async def _above(store: ClientIdHistory, after: int) -> AsyncIterator[ClientIdAt]:
    """Of records and dead letters above an id."""
    last = after
    while found := await store.client_ids_above(last, _AT_ONCE):
        for one in found:
            yield one
        last = found[-1].id
    last = after
    while letters := await store.dead_letters.list(after=last):
        for letter in letters:
            record = record_of(letter)
            for one in client_ids_of(record) if record is not None else ():
                yield one
        last = letters[-1].id


def _ordered(latest: dict[str, int]) -> list[tuple[str, int]]:
    """The latest first; of more than are kept, these and one more."""
    return sorted(latest.items(), key=lambda item: (-item[1], item[0]))[: SENDERS + 1]
