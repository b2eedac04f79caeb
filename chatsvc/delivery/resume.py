"""Resume without a gap: what a connection missed, in order, and then live.

A connection carries the position that it has been served to. Pages come from the store
up to where the tail begins, then from the tail's list of that user, written as the
socket drains. When nothing is left, it joins the hub in the same step of the loop, so
nothing can come between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from chatsvc.core.errors import Unavailable
from chatsvc.core.ids import format_id
from chatsvc.core.page import NO_BYTE_BOUND, Bounds, Entry
from chatsvc.delivery.connection import HIGH_WATER, Connection
from chatsvc.delivery.hub import Hub
from chatsvc.log.reconcile import Life
from chatsvc.log.tail import Tail, overlap
from chatsvc.wire.cursor import Cursor, parse_cursor
from chatsvc.wire.frames import encode_text
from chatsvc.wire.protocol import CaughtUp, Gap, encode_frame

_PAGE: Final = 100
_PAGE_BYTES: Final = 256 * 1024
"""A page from the store is held until its socket has drained, and many resume at once."""

_logger = structlog.get_logger("chatsvc.delivery")


class Found(Protocol):
    """A page of history."""

    @property
    def entries(self) -> Sequence[Entry]:
        """Ascending."""

    @property
    def complete(self) -> bool:
        """Whether nothing of the range may be missing."""


class Backfill(Protocol):
    """History by user, the store included."""

    async def user_page(self, user: str, bounds: Bounds) -> Found:
        """Raises ``StoreUnavailable``."""

    async def count_user(self, user: str, bounds: Bounds) -> int:
        """Raises ``StoreUnavailable``."""


class Plan(NamedTuple):
    """Where a resuming connection starts. ``gap_from`` is set where it cannot be served
    everything: what lies above it up to ``position`` is announced as a gap."""

    position: int
    recovered: bool
    gap_from: int | None = None


class Resumer:
    """Brings connections from their cursor to live.

    Args:
        most: how many messages a resume replays; beyond it there is a gap to fetch.
        lives: of the log, as far as they are remembered, the present one last: who comes
            with a cursor of an earlier one fetches again what may differ since.
    """

    def __init__(
        self,
        *,
        epoch: str,
        tail: Tail,
        hub: Hub,
        backfill: Backfill,
        most: int,
        lives: Sequence[Life] = (),
    ) -> None:
        self.epoch = epoch
        self._lives = lives
        self._tail = tail
        self._hub = hub
        self._backfill = backfill
        self._most = most
        self.replayed = 0
        self.gaps = 0

    def cursor(self, position: int) -> str:
        """The cursor that names a position in this life of the log."""
        return str(Cursor(self.epoch, position))

    def begin_life(self, lives: Sequence[Life]) -> None:
        """A new life of the log, the last of these: cursors are of its epoch from now on."""
        self.epoch = lives[-1].epoch
        self._lives = lives

    async def plan(self, user: str, since: str) -> Plan:
        """Decide before ``hello`` whether all that was missed can be sent."""
        head = self._tail.head
        cursor = parse_cursor(since)
        if cursor is None:
            return Plan(head, False, 0)
        if cursor.epoch != self.epoch:
            return Plan(head, False, min(self._common(cursor), head))
        if cursor.id > head:
            return Plan(head, False, head)
        if overlap(self._tail.lacking(), cursor.id, head + 1):
            return Plan(head, False, cursor.id)
        bounds = Bounds(self._most + 1, cursor.id, newest=False, max_bytes=NO_BYTE_BOUND)
        try:
            if cursor.id >= self._tail.complete_above:
                missed = len(self._tail.user_page(user, bounds))
            else:
                missed = await self._backfill.count_user(user, bounds)
        except Unavailable:
            missed = self._most + 1
        if missed > self._most:
            return Plan(self._tail.head, False, cursor.id)
        return Plan(cursor.id, True)

    def _common(self, cursor: Cursor) -> int:
        """Up to where a cursor of another life is good in this one."""
        later: list[int] = []
        for life in reversed(self._lives):
            if life.epoch == cursor.epoch:
                break
            later.append(life.begun)
        return min([cursor.id, *later])

    async def run(self, connection: Connection, plan: Plan) -> None:
        """Send what was missed, then ``caught_up``, then live. Returns early if it closes."""
        try:
            await self._run(connection, plan)
        except Exception:
            # Neither caught up nor live it would wait for ever; cut off, it comes back.
            _logger.exception("a resume failed", user=connection.user)
            connection.cut("error")

    async def _run(self, connection: Connection, plan: Plan) -> None:
        if plan.gap_from is not None:
            self._gap(connection, plan.gap_from, plan.position)
        position = plan.position
        while connection.transport is not None and not connection.sealed:
            if position >= self._tail.complete_above:
                bounds = Bounds(_PAGE, after=position, newest=False, max_bytes=_PAGE_BYTES)
                records = self._tail.user_page(connection.user, bounds)
                if not records:
                    self._join(connection)
                    return
                await self._send(connection, records)
                position = records[-1].id
                if not bounds.reached_by(records):
                    continue  # that was the rest: join now, or a busy user never would
            else:
                position = await self._from_store(connection, position)
            await asyncio.sleep(0)  # others have a turn between two pages

    async def _from_store(self, connection: Connection, position: int) -> int:
        """One page of what the tail does not hold alone; the position after it."""
        up_to = self._tail.complete_above
        bounds = Bounds(_PAGE, position, up_to + 1, newest=False, max_bytes=_PAGE_BYTES)
        try:
            page = await self._backfill.user_page(connection.user, bounds)
        except Unavailable:
            page = None
        if page is None or not page.complete:
            up_to = self._tail.complete_above
            self._gap(connection, position, up_to)
            return up_to
        if not page.entries:
            return up_to
        await self._send(connection, page.entries)
        return page.entries[-1].rev

    async def _send(
        self, connection: Connection, messages: Sequence[Entry] | Sequence[_Sent]
    ) -> None:
        """In pieces, each when the one before has drained: a page of long messages is many
        times what a socket may hold unsent."""
        frames = (
            encode_text(message.body)
            for message in messages
            if connection.wants(message.sender, message.origin)
        )
        for piece in _pieces(frames, HIGH_WATER):
            self.replayed += len(piece)
            connection.write_all(piece)
            await connection.drained()
            if connection.transport is None or connection.sealed:
                return

    def _gap(self, connection: Connection, after: int, up_to: int) -> None:
        self.gaps += 1
        gap = Gap(from_=format_id(after), to=format_id(up_to))
        connection.write(encode_text(encode_frame(gap)))

    def _join(self, connection: Connection) -> None:
        caught_up = CaughtUp(cursor=self.cursor(self._tail.head))
        connection.write(encode_text(encode_frame(caught_up)))
        if connection.transport is not None:
            self._hub.add(connection)


def _pieces(frames: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Runs of frames of at most ``size`` bytes together, or of one that is longer."""
    piece: list[bytes] = []
    room = size
    for frame in frames:
        if piece and len(frame) > room:
            yield piece
            piece, room = [], size
        piece.append(frame)
        room -= len(frame)
    if piece:
        yield piece


class _Sent(Protocol):
    @property
    def sender(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def body(self) -> bytes: ...
