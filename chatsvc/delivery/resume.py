"""Resume without a gap: what a connection missed, in order, and then live.

A connection carries the position that it has been served to. Pages come from the store
up to where the tail begins, then from the tail's list of that user, written as the
socket drains. When nothing is left, it is live in the same step of the loop, so nothing
can come between. Until then the fan-out passes it by.

A connection that was live and for which more waits than it may hold unsent goes the same
way, from where it stood: a burst cuts nobody who reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, Protocol

import structlog

from chatsvc.core.errors import Unavailable
from chatsvc.core.ids import format_id
from chatsvc.core.page import NO_BYTE_BOUND, Bounds, Entry
from chatsvc.delivery.connection import HIGH_WATER, Connection
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.spans import BEHIND
from chatsvc.log.reconcile import Life
from chatsvc.log.tail import Tail, overlap
from chatsvc.wire.cursor import Cursor, parse_cursor
from chatsvc.wire.frames import encode_text, text_head
from chatsvc.wire.protocol import CaughtUp, Gap, encode_frame

_PAGE: Final = 100
_COUNT_EVERY: Final = 16
"""Pages after which it is looked at whether a connection has fallen too far behind."""
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
        most: how many messages a resume replays, and how far a live connection may fall
            behind; beyond it there is a gap to fetch.
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
        self._tasks: set[asyncio.Task[None]] = set()
        self.replayed = 0
        self.gaps = 0
        self.fell_behind = 0

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
        if overlap(self._tail.missing(), cursor.id, head + 1):
            return Plan(head, False, cursor.id)
        try:
            missed = await self._missed(user, cursor.id)
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

    def start(self, connection: Connection, plan: Plan) -> None:
        """Begin to send what was missed. Until that is done the connection is not live."""
        connection.waiting = BEHIND
        self._hub.add(connection)
        self._spawn(self.run(connection, plan))

    def take_over(self, connection: Connection, position: int) -> None:
        """Serve a live connection from ``position`` on as it drains, and make it live again."""
        connection.waiting = BEHIND
        self.fell_behind += 1
        self._spawn(self._guarded(connection, self._follow(connection, position)))

    async def run(self, connection: Connection, plan: Plan) -> None:
        """Send what was missed, then ``caught_up``, then live. Returns early if it closes."""
        await self._guarded(connection, self._resume(connection, plan))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            # Neither caught up nor live it would wait for ever; cut off, it comes back.
            _logger.exception("a resume failed", user=connection.user)
            self._hub.discard(connection)
            connection.cut("error")

    async def _resume(self, connection: Connection, plan: Plan) -> None:
        if plan.gap_from is not None:
            self._gap(connection, plan.gap_from, plan.position)
        wanted = connection.wants_missed
        if await self._catch_up(connection, plan.position, wanted, may_skip=False):
            caught_up = CaughtUp(cursor=self.cursor(self._tail.head))
            connection.write(encode_text(encode_frame(caught_up)))

    async def _follow(self, connection: Connection, position: int) -> None:
        await connection.drained()
        await self._catch_up(connection, position, connection.wants, may_skip=True)

    async def _catch_up(
        self, connection: Connection, position: int, wanted: _Wanted, *, may_skip: bool
    ) -> bool:
        """Send what lies above ``position`` until nothing is left; the connection is live in
        that step. ``False`` if it closed before.

        Args:
            may_skip: whether it may fall behind by more than a resume replays, and is then
                given a gap; of a resume that was counted, and promised, before.
        """
        pages = 0
        while connection.writable:
            if may_skip and pages % _COUNT_EVERY == 0:
                position = await self._skip(connection, position)
            pages += 1
            if position >= self._tail.complete_above:
                bounds = Bounds(_PAGE, after=position, newest=False, max_bytes=_PAGE_BYTES)
                records = self._tail.user_page(connection.user, bounds)
                if not records:
                    connection.waiting = None
                    self._hub.add(connection)
                    return True
                await self._send(connection, records, wanted)
                position = records[-1].id
                if not bounds.reached_by(records):
                    continue  # that was the rest: join now, or a busy user never would
            else:
                position = await self._from_store(connection, position, wanted)
            await asyncio.sleep(0)  # others have a turn between two pages
        return False

    async def _missed(self, user: str, position: int) -> int:
        """How many lie above, at most one more than a resume replays.

        Raises:
            Unavailable: the store is away, and would have to be asked.
        """
        bounds = Bounds(self._most + 1, position, newest=False, max_bytes=NO_BYTE_BOUND)
        if position >= self._tail.complete_above:
            return len(self._tail.user_page(user, bounds))
        return await self._backfill.count_user(user, bounds)

    async def _skip(self, connection: Connection, position: int) -> int:
        """The position to go on from: beyond an announced gap where too much is missed."""
        try:
            missed = await self._missed(connection.user, position)
        except Unavailable:
            return position  # the page that cannot be read either is announced as a gap
        if missed <= self._most or not connection.writable:
            return position
        head = self._tail.head
        self._gap(connection, position, head)
        return head

    async def _from_store(self, connection: Connection, position: int, wanted: _Wanted) -> int:
        """One page of what the tail does not hold alone; the position after it."""
        up_to = self._tail.complete_above
        bounds = Bounds(_PAGE, position, up_to + 1, newest=False, max_bytes=_PAGE_BYTES)
        page: Found | None = None
        try:
            page = await self._backfill.user_page(connection.user, bounds)
        except Unavailable as exc:
            _logger.debug("resume_without_store", error=str(exc))
        if page is None or not page.complete:
            up_to = self._tail.complete_above
            self._gap(connection, position, up_to)
            return up_to
        if not page.entries:
            return up_to
        await self._send(connection, page.entries, wanted)
        return page.entries[-1].rev

    async def _send(
        self,
        connection: Connection,
        messages: Sequence[Entry] | Sequence[_Sent],
        wanted: _Wanted,
    ) -> None:
        """In pieces of at most ``HIGH_WATER`` bytes, or of one message that is longer, each
        when the one before has drained: a page of long messages is many times what a socket
        may hold unsent. Bodies are not copied: many sockets may be behind in one tail."""
        piece: list[bytes] = []
        size = 0
        for message in messages:
            if not wanted(message.sender, message.origin):
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

    def _gap(self, connection: Connection, after: int, up_to: int) -> None:
        self.gaps += 1
        gap = Gap(from_=format_id(after), to=format_id(up_to))
        connection.write(encode_text(encode_frame(gap)))


_Wanted = Callable[[str, str], bool]
"""Whether a connection is to have what this sender sent from there."""


class _Sent(Protocol):
    @property
    def sender(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def body(self) -> bytes: ...
