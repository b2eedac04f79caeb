"""Resume a connection: send the missed records in order, then make it live.

A connection has a position, up to which it has been served. Pages are read from the store up
to the start of the tail, then from the tail's list of the user, and are written as the socket
drains. When no page is left, the connection becomes live in the same step of the event loop,
so that no message can be missed in between. Until then the fan-out skips it.

A live connection whose pending frames exceed its buffer limit is served the same way, from
its position: a burst does not cut a client that reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import structlog

from chatsvc.core.errors import Unavailable
from chatsvc.core.ids import format_id
from chatsvc.core.page import NO_BYTE_BOUND, Bounds, Entry, RecordPage
from chatsvc.core.record import Record
from chatsvc.delivery.connection import HIGH_WATER, Connection
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.selection import Selection, Sent
from chatsvc.delivery.spans import BEHIND
from chatsvc.delivery.subscriptions import FiltersOf, IntervalsOf, no_filters, no_intervals
from chatsvc.log.reconcile import EpochEntry
from chatsvc.log.tail import Tail, overlap
from chatsvc.wire.cursor import Cursor, parse_cursor
from chatsvc.wire.frames import encode_text, text_head
from chatsvc.wire.protocol import CaughtUp, Gap, encode_frame

_PAGE: Final = 100
_COUNT_EVERY: Final = 16
"""The number of pages between two checks whether a connection is too far behind."""
_PAGE_BYTES: Final = 256 * 1024
"""Small, because a page is held until its socket has drained, and many resume at once."""

_logger = structlog.get_logger("chatsvc.delivery")


class Backfill(Protocol):
    """The records of a user, including what is in the store.

    ``kinds`` are those that are asked for; ``None``: all.
    """

    async def user_page(
        self, user: str, bounds: Bounds, kinds: frozenset[str] | None = None
    ) -> RecordPage:
        """Return a page of the records of a user.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def count_user(
        self, user: str, bounds: Bounds, kinds: frozenset[str] | None = None
    ) -> int:
        """Return the number of records of a user, at most ``bounds.limit``.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def count_shown(
        self, user: str, bounds: Bounds, kinds: frozenset[str] | None = None
    ) -> int:
        """Return the number of records that are not hidden from a user, of those looked at.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    def oldest_kept(self) -> int:
        """Return the lowest id that has not expired; 0: none expires."""


class Plan(NamedTuple):
    """The start of a resume.

    ``gap_from`` is set if not every missed message can be sent: the ids above it up to
    ``position`` are announced as a gap.
    """

    position: int
    recovered: bool
    gap_from: int | None = None


class Resumer:
    """Serves connections from their cursor until they are live.

    ``replayed`` counts records, ``gaps`` announced gaps, and ``fell_behind`` live connections
    that were taken over.

    Args:
        selection: which records a connection receives.
        max_messages: the maximum of records that a resume replays, and that a live connection
            may be behind; beyond it a gap is announced.
        epochs: the known epochs of the log, the current one last. A client with a cursor of an
            earlier epoch is announced a gap of the ids that may differ since.
        intervals_of: which ids of groups and rooms are for a user, as the log's state has them.
        filters_of: what a user does not receive: it is not counted either.
    """

    def __init__(
        self,
        *,
        epoch: str,
        tail: Tail,
        hub: Hub,
        backfill: Backfill,
        selection: Selection,
        max_messages: int,
        epochs: Sequence[EpochEntry] = (),
        intervals_of: IntervalsOf = no_intervals,
        filters_of: FiltersOf = no_filters,
    ) -> None:
        self.epoch = epoch
        self._intervals_of = intervals_of
        self._filters_of = filters_of
        self._epochs = epochs
        self._tail = tail
        self._hub = hub
        self._backfill = backfill
        self._selection = selection
        self._max_messages = max_messages
        self._tasks: set[asyncio.Task[None]] = set()
        self.replayed = 0
        self.gaps = 0
        self.fell_behind = 0

    def cursor(self, position: int) -> str:
        """Return the cursor of a position in the current epoch of the log."""
        return str(Cursor(self.epoch, position))

    def begin_epoch(self, epochs: Sequence[EpochEntry]) -> None:
        """Use the last of ``epochs`` as the current epoch; cursors carry it from now on."""
        self.epoch = epochs[-1].epoch
        self._epochs = epochs

    async def plan(self, user: str, since: str, kinds: frozenset[str] | None = None) -> Plan:
        """Decide, before ``hello``, whether all missed records of these kinds can be sent."""
        head = self._tail.head
        cursor = parse_cursor(since)
        if cursor is None:
            return Plan(head, False, 0)
        if cursor.epoch != self.epoch:
            return Plan(head, False, min(self._common_position(cursor), head))
        if cursor.id > head:
            return Plan(head, False, head)
        if overlap(self._tail.missing(), cursor.id, head + 1):
            return Plan(head, False, cursor.id)
        if cursor.id + 1 < self._backfill.oldest_kept():
            return Plan(head, False, cursor.id)  # some of what was missed may have expired
        epoch, lacking = self.epoch, self._tail.missing()
        try:
            missed = await self._missed(user, cursor.id, kinds)
        except Unavailable:
            missed = self._max_messages + 1
        if (self.epoch, self._tail.missing()) != (epoch, lacking):
            # The log attached a store meanwhile: the cursor may be valid up to a lower id now.
            return await self.plan(user, since, kinds)
        if missed > self._max_messages:
            return Plan(self._tail.head, False, cursor.id)
        return Plan(cursor.id, True)

    def _common_position(self, cursor: Cursor) -> int:
        """Return the highest position up to which a cursor of another epoch is valid."""
        later: list[int] = []
        for entry in reversed(self._epochs):
            if entry.epoch == cursor.epoch:
                break
            later.append(entry.begun)
        return min([cursor.id, *later])

    def start(self, connection: Connection, plan: Plan) -> None:
        """Start to send the missed records; the connection is not live until that is done."""
        connection.waiting = BEHIND
        self._hub.add(connection)
        self._spawn(self.run(connection, plan))

    def take_over(self, connection: Connection, position: int) -> None:
        """Serve a live connection from ``position`` on as it drains; then it is live again."""
        connection.waiting = BEHIND
        self.fell_behind += 1
        self._spawn(self._guarded(connection, self._follow(connection, position)))

    async def run(self, connection: Connection, plan: Plan) -> None:
        """Send the missed records, then ``caught_up``, then make the connection live.

        Returns early if the connection closes.
        """
        await self._guarded(connection, self._resume(connection, plan))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            # The connection would never be live; after the cut the client reconnects.
            _logger.exception("resume_failed", user=connection.user)
            self._hub.discard(connection)
            connection.cut("error")

    async def _resume(self, connection: Connection, plan: Plan) -> None:
        if plan.gap_from is not None:
            self._announce_gap(connection, plan.gap_from, plan.position)
        wanted = partial(self._selection.missed, connection)
        if await self._catch_up(connection, plan.position, wanted, may_skip=False):
            caught_up = CaughtUp(cursor=self.cursor(self._tail.head))
            connection.write(encode_text(encode_frame(caught_up)))

    async def _follow(self, connection: Connection, position: int) -> None:
        await connection.drained()
        wanted = partial(self._selection.live, connection)
        await self._catch_up(connection, position, wanted, may_skip=True)

    async def _catch_up(
        self, connection: Connection, position: int, wanted: _Wanted, *, may_skip: bool
    ) -> bool:
        """Send the messages above ``position``, then make the connection live.

        Args:
            may_skip: whether a gap is announced if the connection is too far behind. False for
                a resume, whose messages were counted and promised before.

        Returns:
            False if the connection closed before it was live.
        """
        pages = 0
        while connection.writable:
            if may_skip and pages % _COUNT_EVERY == 0:
                position = await self._skip(connection, position)
            pages += 1
            if position >= self._tail.complete_above:
                bounds = Bounds(_PAGE, after=position, newest=False, max_bytes=_PAGE_BYTES)
                try:
                    records = self._in_tail(connection.user, bounds)
                except Unavailable as exc:
                    _logger.debug("resume_without_memberships", error=str(exc))
                    head = self._tail.head
                    self._announce_gap(connection, position, head)
                    position = head
                    continue
                if not records:
                    connection.waiting = None
                    self._hub.add(connection)
                    return True
                await self._send(connection, records, wanted)
                position = records[-1].id
                if not bounds.reached_by(records):
                    continue  # the last page: go live now, or a busy user never would
            else:
                position = await self._send_from_store(connection, position, wanted)
            await asyncio.sleep(0)  # let other tasks run between two pages
        return False

    async def _missed(self, user: str, position: int, kinds: frozenset[str] | None) -> int:
        """Return the number of records above ``position``, at most ``max_messages`` + 1.

        Raises:
            Unavailable: the store is needed and does not answer.
        """
        bounds = Bounds(self._max_messages + 1, position, newest=False, max_bytes=NO_BYTE_BOUND)
        if position >= self._tail.complete_above and kinds is None:
            missed = len(self._in_tail(user, bounds))
        else:
            missed = await self._backfill.count_user(user, bounds, kinds)
        if missed > self._max_messages and self._filters_of(user):
            return await self._backfill.count_shown(user, bounds, kinds)
        return missed

    def _in_tail(self, user: str, bounds: Bounds) -> Sequence[Record]:
        """Return the user's records in the tail.

        Raises:
            LogUnavailable: there are some, and which are the user's cannot be read.
        """
        if bounds.after >= self._tail.head:
            return ()
        return self._tail.user_page(user, bounds, self._intervals_of(user))

    async def _skip(self, connection: Connection, position: int) -> int:
        """Return the position to continue from; announce a gap if too much is missed."""
        try:
            missed = await self._missed(connection.user, position, connection.kinds)
        except Unavailable:
            return position  # the next page cannot be read either, and is announced as a gap
        if missed <= self._max_messages or not connection.writable:
            return position
        head = self._tail.head
        self._announce_gap(connection, position, head)
        return head

    async def _send_from_store(self, connection: Connection, position: int, wanted: _Wanted) -> int:
        """Send one page from the store, or announce a gap; return the position after it."""
        up_to = self._tail.complete_above
        bounds = Bounds(_PAGE, position, up_to + 1, newest=False, max_bytes=_PAGE_BYTES)
        page: RecordPage | None = None
        try:
            page = await self._backfill.user_page(connection.user, bounds, connection.kinds)
        except Unavailable as exc:
            _logger.debug("resume_without_store", error=str(exc))
        if page is None or not page.complete or page.lost is not None:
            up_to = self._tail.complete_above
            self._announce_gap(connection, position, up_to)
            return up_to
        await self._send(connection, page.entries, wanted)
        return page.up_to

    async def _send(
        self,
        connection: Connection,
        messages: Sequence[Entry | Record],
        wanted: _Wanted,
    ) -> None:
        """Write records in pieces, each when the previous one has drained.

        A piece has at most ``HIGH_WATER`` bytes, or one message that is longer: a page of long
        messages exceeds the buffer limit of a socket many times. Bodies are not copied: many
        sockets may resume from one tail.
        """
        piece: list[bytes] = []
        size = 0
        for message in messages:
            if not wanted(message):
                continue
            body = message.body
            if piece and size + len(body) > HIGH_WATER:
                connection.write_all(piece)
                await connection.drained()
                if not connection.writable:
                    return
                piece, size = [], 0
            piece += (text_head(len(body)), body)
            size += len(body)
            self.replayed += 1
        if piece:
            connection.write_all(piece)
            await connection.drained()

    def _announce_gap(self, connection: Connection, after: int, up_to: int) -> None:
        self.gaps += 1
        gap = Gap(from_=format_id(after), to=format_id(up_to))
        connection.write(encode_text(encode_frame(gap)))


_Wanted = Callable[[Sent], bool]
"""Whether a record is sent to the connection."""
