"""Reading rows: as they are stored, or with what the log's tail changes in them on top.

What is stored may lie behind what was accepted. A reader either waits a moment until it is folded
far enough, or has the tail folded on top, and in both cases gets to know the position to which
what it reads is folded: everything up to it is in there, and some of what is above may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import structlog

from chatsvc.core.page import NO_BYTE_BOUND, Bounds
from chatsvc.core.projection import Key, Projection, Projections, Row
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.ports.projections import ProjectionReader, StoredRows
from chatsvc.storage.projections.folding import FoldFailed, changes_of
from chatsvc.storage.projections.row_state import Changes, RowState

WAIT_SECONDS: Final = 1.0
"""How long a read waits for what is stored."""
MAX_ROWS: Final = 1000
"""Of a page."""
OVERLAID: Final = 2000
"""Records of the tail that are folded on top of one read."""
_READS_AGAIN: Final = 3
"""How often rows are read when the tail moved on meanwhile."""

_logger = structlog.get_logger("chatsvc.projections")

Ask = Callable[[str, Callable[[], Awaitable[StoredRows]]], Awaitable[StoredRows]]
"""Asks the store for a user, in turn."""


class Rows(NamedTuple):
    """Rows, ascending by key.

    Args:
        rows: the rows.
        position: everything up to it is folded; a projection that is being built is far behind.
        after: the key after which the next page begins; ``None``: this is the last one.
    """

    rows: list[Row]
    position: int
    after: Key | None = None


class RowReader:
    """Reads the rows of a store's projections, given by name.

    Every read raises :class:`~chatsvc.core.errors.StoreUnavailable` where the store does not
    answer, and :class:`~chatsvc.core.errors.HistoryBusy` where too many reads wait for it.

    ``reader`` is the user who reads: reads of the store take turns by user.

    Args:
        store: where they are.
        tail: of the log that is stored there.
        projections: their declarations.
        ask: by which the store is asked.
    """

    def __init__(
        self, store: ProjectionReader, tail: Tail, projections: Projections, ask: Ask
    ) -> None:
        self._store = store
        self._tail = tail
        self._projections = projections
        self._ask = ask
        self._waiting: set[asyncio.Future[None]] = set()
        tail.watch(lambda _: self.moved())

    def moved(self) -> None:
        """Let those look again who wait: positions may have moved."""
        waiting, self._waiting = self._waiting, set()
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def position(self, name: str) -> int:
        """The position to which a projection's stored rows are folded at least."""
        return self._relied_on(await self._store.position(name))

    async def wait_until(self, name: str, as_of: int, *, seconds: float = WAIT_SECONDS) -> bool:
        """Wait until a projection is folded up to a position; whether it is."""
        try:
            async with asyncio.timeout(seconds):
                while not await self._reached_or_moved(name, as_of):
                    pass
        except TimeoutError:
            return False
        return True

    async def get(self, name: str, key: Key, *, reader: str, as_of: int = 0) -> Rows:
        """One row, if it is there, as it is stored; after a wait until ``as_of`` is folded."""
        await self.wait_until(name, as_of)
        found = await self._stored(name, key, reader)
        return self._rows(name, found, None)

    async def page(
        self,
        name: str,
        prefix: Key,
        *,
        reader: str,
        after: Key | None = None,
        limit: int = 100,
        as_of: int = 0,
    ) -> Rows:
        """Rows whose keys begin with a prefix, as they are stored, like :meth:`get`.

        Args:
            limit: how many at most, and no more than :data:`MAX_ROWS`.
        """
        limit = min(limit, MAX_ROWS)
        await self.wait_until(name, as_of)
        found = await self._stored_page(name, prefix, after, limit, reader)
        return self._rows(name, found, _end(found, limit))

    async def get_overlaid(self, name: str, key: Key, *, reader: str, channel: str) -> Rows:
        """One row, with what the tail's records of a conversation change in it."""
        for _ in range(_READS_AGAIN):
            floor = self._tail.floor
            found = await self._stored(name, key, reader)
            position, changes = self._changes(name, found.position, channel)
            if changes is not None:
                return self._overlaid(name, found, changes, position, lambda one: one == key)
            if self._tail.floor == floor:
                break  # it is being built
        return self._rows(name, found, None)

    async def page_overlaid(
        self,
        name: str,
        prefix: Key,
        *,
        reader: str,
        channel: str,
        after: Key | None = None,
        limit: int = 100,
    ) -> Rows:
        """Rows whose keys begin with a prefix, with what the tail's records change in them.

        A page may have fewer rows than ``limit`` and not be the last.

        Args:
            channel: the conversation whose records change these rows, and no others' do.
            limit: as for :meth:`page`.
        """
        limit = min(limit, MAX_ROWS)
        for _ in range(_READS_AGAIN):
            floor = self._tail.floor
            found = await self._stored_page(name, prefix, after, limit, reader)
            position, changes = self._changes(name, found.position, channel)
            if changes is None:
                if self._tail.floor == floor:
                    break  # it is being built
                continue
            last = _end(found, limit)

            def within(key: Key, last: Key | None = last) -> bool:
                if key[: len(prefix)] != prefix or (after is not None and key <= after):
                    return False
                return last is None or key <= last

            rows = self._overlaid(name, found, changes, position, within)
            if len(rows.rows) > limit:
                return Rows(rows.rows[:limit], position, rows.rows[limit - 1].key)
            return rows._replace(after=last)
        return self._rows(name, found, _end(found, limit))

    async def _reached_or_moved(self, name: str, as_of: int) -> bool:
        """Whether it is folded so far; if not, after positions may have moved."""
        if as_of <= 0:
            return True
        moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(moved)  # before the look, or a move in between would be missed
        try:
            if as_of <= self._tail.relied_on and await self._store.position(name) >= as_of:
                return True
            await moved
        finally:
            self._waiting.discard(moved)
        return False

    async def _stored(self, name: str, key: Key, reader: str) -> StoredRows:
        self._projections[name].check_key(key, whole=True)
        return await self._ask(reader, lambda: self._store.get(name, key))

    async def _stored_page(
        self, name: str, prefix: Key, after: Key | None, limit: int, reader: str
    ) -> StoredRows:
        return await self._ask(reader, lambda: self._store.page(name, prefix, after, limit))

    def _changes(self, name: str, position: int, channel: str) -> tuple[int, Changes | None]:
        """What the tail changes above a position, and up to where that is folded.

        ``None``: the tail does not begin there any more, or not yet.
        """
        tail = self._tail
        position = self._relied_on(position)
        if position < tail.floor:
            return position, None
        bounds = Bounds(OVERLAID, after=position, newest=False, max_bytes=NO_BYTE_BOUND)
        records = tail.channel_page(channel, bounds)
        up_to = records[-1].id if len(records) == OVERLAID else tail.head
        return up_to, _folded(self._projections[name], records)

    def _overlaid(
        self,
        name: str,
        found: StoredRows,
        changes: Changes,
        position: int,
        within: Callable[[Key], bool],
    ) -> Rows:
        states = {key: state.without(changes.removed_at(key)) for key, state in found.rows}
        for key, state in changes.left({}).items():
            if within(key):
                states[key] = states.get(key, RowState()).joined(state)
        overlaid = StoredRows(position, sorted(states.items()))
        return Rows(self._shown(name, overlaid), position)

    def _rows(self, name: str, found: StoredRows, after: Key | None) -> Rows:
        return Rows(self._shown(name, found), self._relied_on(found.position), after)

    def _shown(self, name: str, found: StoredRows) -> list[Row]:
        columns = [column.name for column in self._projections[name].columns]
        return [state.row(key, columns) for key, state in found.rows if state.rev]

    def _relied_on(self, position: int) -> int:
        """Below what is stored while a store is filled again, whatever it says itself."""
        return min(position, self._tail.relied_on)


def _end(found: StoredRows, limit: int) -> Key | None:
    return found.rows[-1][0] if len(found.rows) >= limit else None


def _folded(projection: Projection, records: list[Record]) -> Changes:
    """What records change; one that cannot be folded will be a dead letter, and changes nothing."""
    changes = Changes()
    for record in records:
        try:
            changes.add(record.id, changes_of(projection, record))
        except FoldFailed as exc:
            _logger.debug("record_not_folded", error=str(exc))
    return changes
