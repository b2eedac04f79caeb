"""What dead letters hold, and which records of the log have ids that are taken in a store."""

from __future__ import annotations

from collections.abc import Sequence

from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.record import Record, unpack
from chatsvc.log.reconcile import equal_json
from chatsvc.storage.bodies import sameness
from chatsvc.storage.ports.dead_letters import DeadLetter, DeadLetters
from chatsvc.storage.ports.records import RecordReader


def record_of(letter: DeadLetter) -> Record | None:
    """The record in a dead letter; ``None`` where its bytes are none (of this version)."""
    try:
        return unpack(letter.id, letter.data)
    except (LogDamaged, VersionTooNew):
        return None


async def taken_by_letters(letters: DeadLetters, records: Sequence[Record]) -> list[Record]:
    """Those of the records whose id a dead letter of another record has.

    Bytes that are no record are a damaged copy of one, and take no id.

    Args:
        letters: those of the store that the records go to.
        records: ascending by id.
    """
    if not records:
        return []
    held: dict[int, Record] = {}
    after, last = records[0].id - 1, records[-1].id
    while after < last and (page := await letters.list(after=after, limit=100)):
        found = [one for one in map(record_of, page) if one is not None]
        held |= {one.id: one for one in found}
        after = page[-1].id
    return [one for one in records if sameness(held.get(one.id, one)) != sameness(one)]


async def taken_by_records(store: RecordReader, records: Sequence[Record]) -> list[Record]:
    """Those of the records whose id another record in the store has, a message or a change."""
    taken: list[Record] = []
    for record in records:
        entry = await store.get_record(record.id)
        if entry is not None and not equal_json(record.body, entry.body):
            taken.append(record)
    return taken
