"""What a store says that it holds, for the log that it is attached to."""

from __future__ import annotations

from typing import Protocol

from chatsvc.log.reconcile import StoreState
from chatsvc.storage.letter_records import record_of
from chatsvc.storage.ports.dead_letters import HasDeadLetters
from chatsvc.storage.ports.membership import StateReader
from chatsvc.storage.ports.messages import MessageReader
from chatsvc.storage.ports.records import RecordReader
from chatsvc.storage.ports.watermark import StoreWatermark


class AttachableStore(
    StoreWatermark, MessageReader, RecordReader, HasDeadLetters, StateReader, Protocol
):
    """A store that a log can be attached to."""


async def state_of(store: AttachableStore) -> StoreState:
    """What a log has to know of an open store to meet it.

    Raises:
        StoreUnavailable: it does not answer.
    """
    identity, mark, head = await store.identity(), await store.watermark(), await store.head()
    letter = await store.dead_letters.newest()
    if letter is not None and letter.id > head:
        record = record_of(letter)
        return StoreState(identity, mark, letter.id, record.body if record is not None else None)
    newest = await store.get_record(head) if head else None
    found = StoreState(identity, mark, head, newest.body if newest is not None else None)
    if found.extent:
        return found
    return found._replace(only_rows=bool((await store.state_page("", 1)).rows))
