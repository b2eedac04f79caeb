"""What the bytes of dead letters say, and whether a message of the log has the id of one."""

from __future__ import annotations

from collections.abc import Sequence

from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.record import Record, unpack
from chatsvc.storage.base import DeadLetter, DeadLetters
from chatsvc.storage.bodies import sameness


def record_of(letter: DeadLetter) -> Record | None:
    """The record in a dead letter; ``None`` where its bytes are none (of this version)."""
    try:
        return unpack(letter.id, letter.data)
    except (LogDamaged, VersionTooNew):
        return None


async def taken_by_letters(letters: DeadLetters, records: Sequence[Record]) -> list[Record]:
    """Those of the records whose id a dead letter of another message has.

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
