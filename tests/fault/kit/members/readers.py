"""Clients: one that only reads frames, and one that only reads pages of changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from chatsvc.core.errors import Unavailable
from chatsvc.core.ids import parse_id
from chatsvc.core.page import Bounds
from chatsvc.delivery.connection import Connection
from chatsvc.log.reconcile import EpochEntry
from chatsvc.wire.cursor import Cursor
from tests.fault.kit.model_checks import Wire, read_frames

if TYPE_CHECKING:
    from tests.fault.kit.members.world import World

PAGE = 3
_FOR_EVER = "", -1


def begun_since(epochs: Sequence[EpochEntry], epoch: str) -> list[int]:
    """Where the epochs behind one began; those of all where that one is not remembered."""
    names = [entry.epoch for entry in epochs]
    start = names.index(epoch) + 1 if epoch in names else 0
    return [entry.begun for entry in epochs[start:]]


class Reader:
    """A user who reads, up to a position of an epoch.

    ``forked_at`` is the head of an older log that was put back below the position, until the
    reader has seen that it was: only a new epoch can tell the two pasts apart. ``logs_ago``: how
    often the log was replaced since it read.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.epoch = ""
        self.position = 0
        self.received: dict[str, set[int]] = {}
        self.gaps: list[tuple[int, int]] = []
        self.forked_at: tuple[str, int] | None = None
        self.logs_ago = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.user}, {self.epoch}.{self.position:x}, {self.gaps})"

    @property
    def cursor(self) -> str:
        return str(Cursor(self.epoch, self.position))

    def disconnect(self, world: World) -> None:
        """It has no connection any more."""

    def log_was_put_back(self, epoch: str, head: int) -> None:
        """The log is another one, which ends at ``head`` of ``epoch``."""
        if self.forked_at is not None and self.forked_at[0] == epoch:
            head = min(head, self.forked_at[1])
        if self.position > head and self.epoch == epoch:
            self.forked_at = epoch, head

    @property
    def cannot_know(self) -> bool:
        """Whether it may lack what no answer can tell it of."""
        return self.forked_at is not None

    def log_is_lost(self, epoch: str, *, was_older: bool) -> None:
        """What it read from may have been a log that was put back, and never met its store.

        Nobody knows then that this was not all that there was.
        """
        self.logs_ago += 1
        if was_older and self.epoch == epoch:
            self.forked_at = _FOR_EVER

    def cannot_be_told(self) -> None:
        """A part of a batch is in the store, whose log was lost: where that is away, who knows?"""
        self.forked_at = _FOR_EVER

    def sees_epoch(self, world: World) -> None:
        """It is about to give its cursor to the log of now."""
        if self.logs_ago > 1 and world.options.collide:
            self.forked_at = _FOR_EVER  # each log knows where it began, and not the one before
        self.logs_ago = 0
        if self.forked_at is None:
            return
        epoch, head = self.forked_at
        if world.log.epoch == epoch:
            told = world.log.tail.head <= head
        else:
            told = any(begun <= head for begun in begun_since(world.log.epochs, epoch))
        if told:
            self.forked_at = None

    def keep(self, world: World, frames: Iterable[dict[str, Any]]) -> None:
        """Note what came; none of it may be another's."""
        for frame in frames:
            content = frame["content"]
            entitled = world.entitled[content]
            assert self.user in entitled, f"{self}: {frame} is for {sorted(entitled)}"
            self.received.setdefault(content, set()).add(parse_id(frame["id"]))

    async def fetch(self, world: World) -> None:
        """Read what lies in the gaps, as far as it can be read now."""
        gaps, self.gaps = self.gaps, []
        for gap in gaps:
            reached = await self.read(world, *gap)
            if reached < gap[1]:
                self.gaps.append((reached, gap[1]))

    async def read(self, world: World, after: int, up_to: int) -> int:
        """Read pages of changes; up to where they were complete."""
        while after < up_to:
            bounds = Bounds(PAGE, after, up_to + 1, newest=False)
            try:
                page = await world.history.records.user_page(self.user, bounds)
            except Unavailable:
                break
            found = [json.loads(entry.body) for entry in page.entries]
            ids = [one["id"] for one in found]
            assert ids == sorted(set(ids)), f"{self}: not each once, in order: {found}"
            self.keep(world, found)
            if not page.complete:
                break
            assert page.up_to > after or not page.has_more, "a page that does not move on"
            after = page.up_to if page.has_more else up_to
        return after

    async def catch_up(self, world: World) -> None:
        """Read what there is since its position."""
        raise NotImplementedError


class Paged(Reader):
    """Reads pages of changes alone, from where the plan of a resume says that it must."""

    async def catch_up(self, world: World) -> None:
        self.sees_epoch(world)
        plan = await world.resumer.plan(self.user, self.cursor)
        head = world.log.tail.head
        start = plan.position if plan.gap_from is None else plan.gap_from
        self.epoch, self.position = world.log.epoch, max(head, start)
        self.gaps.append((start, self.position))
        await self.fetch(world)


class Followed(Reader):
    """Reads frames: a resume from its cursor, and what goes out live behind it."""

    def __init__(self, user: str) -> None:
        super().__init__(user)
        self.connection: Connection | None = None
        self._wire = Wire()
        self._world: World | None = None
        self._last = 0

    async def catch_up(self, world: World) -> None:
        if self.connection is not None:
            self.receive()
            return
        self.sees_epoch(world)
        plan = await world.resumer.plan(self.user, self.cursor)
        self.epoch, self._world, self._wire, self._last = world.log.epoch, world, Wire(), 0
        connection = self.connection = Connection(
            self.user, self.user, echo=True, buffer_limit=1 << 30
        )
        connection.transport = self._wire  # type: ignore[assignment]
        await world.resumer.run(connection, plan)
        self.receive()

    def receive(self) -> None:
        """Take what was written so far."""
        if self._world is None or self.connection is None:
            return
        frames = read_frames(self._wire.data)
        self._wire.data = b""
        self.keep(self._world, [one for one in frames if "content" in one])
        for frame in frames:
            if frame["type"] == "gap":
                low, high = parse_id(frame["from"]), parse_id(frame["to"])
                self.gaps.append((low, high))
                self.position = high
            elif "content" in frame:
                record_id = parse_id(frame["id"])
                assert record_id > self._last, f"{self}: {frame} once more"
                self._last = record_id
                self.position = max(self.position, record_id)
            elif frame["type"] == "caught_up":
                self.position = parse_id(frame["cursor"].partition(".")[2])

    def was_reset(self, entry: EpochEntry, head: int) -> None:
        """A new epoch began: what is above its beginning may differ."""
        if self.connection is not None:
            self.epoch, self.position = entry.epoch, head
            self.gaps.append((min(entry.begun, head), head))
            if self.forked_at is not None and entry.begun <= self.forked_at[1]:
                self.forked_at = None

    def disconnect(self, world: World) -> None:
        self.receive()
        if self.connection is not None:
            world.hub.discard(self.connection)
            self.connection = None


def not_received(reader: Reader, expected: Sequence[tuple[str, int]]) -> list[str]:
    """What of it never came, under any id."""
    return [content for content, _ in expected if content not in reader.received]
