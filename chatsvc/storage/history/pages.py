"""Pages of history, put together from what the store and the log's tail hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.page import NO_BYTE_BOUND, Bounds, Entry, Page, fit, take
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail, overlap

RecordsOf = Callable[[Bounds], list[Record]]
"""Records of the tail: of a user, or of a conversation."""
FromTail = Callable[[Bounds], list[Entry]]
"""The same, as entries, of those kinds that a page is to have."""
FromStore = Callable[[Bounds], Awaitable[list[Entry]]]
"""The same, of the store."""


class Source(NamedTuple):
    """Where pages are read: records of a user or of a conversation, of some kinds.

    Args:
        open_tail: awaited first of all. What it returns reads the tail, in the step in which it
            returns: later the reader may be no member any more.
        selects: whether records of a kind are in the pages.
        from_store: the store, where its records are of these kinds.
    """

    open_tail: Callable[[], Awaitable[RecordsOf]]
    selects: Callable[[str], bool]
    from_store: FromStore


_LOOK_AT: Final = 256
"""Records that are looked at, at least, behind a first look that was not enough."""

_decode = msgspec.json.Decoder().decode


def entry_of(record: Record) -> Entry:
    """A record as a reader needs it."""
    return Entry(
        id=record.id,
        rev=record.id,
        channel=record.channel,
        sender=record.sender,
        origin=record.origin,
        audience=record.audience,
        body=record.body,
        kind=record.kind,
    )


def entries_of(
    records_of: RecordsOf, selects: Callable[[str], bool], bounds: Bounds
) -> list[Entry]:
    """A page of the tail's records of the kinds that are selected: others do not count.

    Where others lie between, each look takes in twice as many as the one before: a message
    behind a thousand changes is not a thousand searches.
    """
    records = records_of(bounds)
    found = [entry_of(record) for record in records if selects(record.kind)]
    if len(found) == len(records) or not bounds.reached_by(records):
        return found
    rest, looked_at, more = bounds, len(records), True
    while more and not bounds.reached_by(found):
        looked_at = max(2 * looked_at, _LOOK_AT)
        rest = rest._replace(limit=looked_at, max_bytes=NO_BYTE_BOUND)
        if bounds.newest:
            rest = rest._replace(before=records[0].id)
        else:
            rest = rest._replace(after=records[-1].id)
        records = records_of(rest)
        entries = [entry_of(record) for record in records if selects(record.kind)]
        found = entries + found if bounds.newest else found + entries
        more = len(records) == looked_at
    return _bounded(found, bounds)


def _bounded(found: list[Entry], bounds: Bounds) -> list[Entry]:
    """As much of it as a source answers within the bounds."""
    if bounds.newest:
        newest = take(reversed(found[-bounds.limit :]), _size, bounds.max_bytes)
        return newest[::-1]
    return take(found[: bounds.limit], _size, bounds.max_bytes)


def _size(entry: Entry) -> int:
    return len(entry.body)


def cut(entries: list[Entry], bounds: Bounds) -> Page:
    """As much of it as the bounds allow."""
    kept = fit(
        entries,
        _size,
        bounds.limit,
        bounds.max_bytes,
        from_end=bounds.newest,
    )
    return Page(kept, has_more=len(kept) < len(entries), complete=True)


def merge(stored: list[Entry], here: list[Entry]) -> list[Entry]:
    """Both, ascending; what is in both once, as the log has it."""
    if not here:
        return stored
    entries = {entry.id: entry for entry in stored} | {entry.id: entry for entry in here}
    return [entries[position] for position in sorted(entries)]


def differ(stored: list[Entry], here: list[Entry]) -> bool:
    """Whether the two have different messages under one id.

    So it is after a log was restored and went on, until the persister has given its messages
    other ids.
    """
    bodies = {entry.id: entry.body for entry in here}
    for entry in stored:
        body = bodies.get(entry.id, entry.body)
        if body != entry.body and _decode(body) != _decode(entry.body):
            return True
    return False


def covered_by(page: Page, bounds: Bounds) -> tuple[int, int]:
    """The part of the range that the page speaks of: what it was cut off from is not it."""
    after, before = bounds.after, bounds.before
    if page.has_more and page.entries:
        if bounds.newest:
            after = page.entries[0].id - 1
        else:
            before = page.entries[-1].id + 1
    return after, before


def lost_in(tail: Tail, after: int, before: int) -> tuple[int, int] | None:
    """The id range that neither side holds any more, if the ids between touch it."""
    hole = tail.hole
    return hole if hole is not None and overlap([hole], after, before) else None
