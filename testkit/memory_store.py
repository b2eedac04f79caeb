"""A store in memory whose failures are scripted: for tests of what stands above."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.core.ids import id_ms
from chatsvc.core.kinds import Kinds
from chatsvc.core.membership import Interval, is_member_channel
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.page import MAX_PAGE_BYTES, NO_BYTE_BOUND, Bounds, Entry, take
from chatsvc.core.projection import NO_PROJECTIONS, Projections
from chatsvc.core.record import Record
from chatsvc.core.state_rows import StatePage, StateRow
from chatsvc.log.reconcile import Mark
from chatsvc.storage.bodies import conflicting, decode_participants, partition_records, sameness
from chatsvc.storage.client_ids import client_ids_of, listed_above_ms
from chatsvc.storage.history.pages import entry_of
from chatsvc.storage.letter_records import record_of
from chatsvc.storage.ports.client_ids import ClientIdAt, PastClientIds
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.ports.dead_letters import DeadLetter, DeadLetters
from chatsvc.storage.ports.lifecycle import Versions
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.ports.messages import Rejection
from testkit.memory_client_ids import first_use, latest_ahead
from testkit.memory_projections import MemoryProjections, MemoryRows
from testkit.memory_state import MemoryState, is_for_reader


class MemoryLetters(DeadLetters):
    """Kept in a dict. ``away`` makes the next so many calls of :meth:`put` fail."""

    def __init__(self, held: dict[int, DeadLetter] | None = None) -> None:
        self.held = {} if held is None else held
        self.away = 0

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("no letters now")
        self.held |= {letter.id: letter for letter in letters}

    async def list(self, *, after: int = 0, limit: int = 100) -> builtins.list[DeadLetter]:
        return [self.held[key] for key in sorted(self.held) if key > after][:limit]

    async def get(self, letter_id: int) -> DeadLetter | None:
        return self.held.get(letter_id)

    async def newest(self) -> DeadLetter | None:
        return self.held[max(self.held)] if self.held else None

    async def drop(self, ids: Sequence[int]) -> int:
        return sum(self.held.pop(key, None) is not None for key in ids)

    async def count(self) -> int:
        return len(self.held)

    def records(self) -> builtins.list[Record]:
        """Those of the letters that are records."""
        return [one for one in map(record_of, self.held.values()) if one is not None]


@dataclass
class MemoryDisk:
    """What outlives a store in memory. Of version 0 until a store is opened over it.

    ``records`` are messages, ``changes`` records of the other kinds.
    """

    name: str = "memory"
    version: int = 0
    records: dict[int, Record] = field(default_factory=dict)
    changes: dict[int, Record] = field(default_factory=dict)
    letters: dict[int, DeadLetter] = field(default_factory=dict)
    state: MemoryState = field(default_factory=MemoryState)
    mark: Mark | None = None
    rows: dict[str, MemoryRows] = field(default_factory=dict)


class MemoryStore(MessageStore):
    """Keeps the promises of the ports, slowly and plainly.

    Over a ``disk`` of its own it is open from the start, for tests of what stands above.

    ``away`` makes every call fail; ``failures`` the next so many writes. ``gate``, where
    there is one, is waited for before a read looks and before a write writes; ``reads``
    and ``batches`` tell what was asked. ``refuse`` says for which records it never will.
    ``answers_lost`` makes so many advances of the watermark fail after they were made.
    """

    def __init__(
        self,
        disk: MemoryDisk | None = None,
        *,
        kinds: Kinds = MESSAGES_ONLY,
        projections: Projections = NO_PROJECTIONS,
    ) -> None:
        self.kinds = kinds
        self.disk = disk or MemoryDisk(version=1)
        self.is_open = disk is None
        self.letters = MemoryLetters(self.disk.letters)
        self.dead_letters = self.letters
        self.rows = MemoryProjections(
            projections, self._check, lambda: self.mark.position if self.mark is not None else 0
        )
        self.rows.open(self.disk.rows)
        self.projections = self.rows
        self.answers_lost = 0
        self.opened = 0
        self.away = False
        self.failures = 0
        self.open_error: Exception | None = None
        self.write_error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.before_read: Callable[[], None] | None = None
        self.reads = 0
        self.batches: list[int] = []
        self.refuse: Callable[[Record], bool] = lambda _: False

    async def open(self) -> None:
        if self.open_error is not None:
            raise self.open_error
        if self.disk.version > 1:
            raise VersionTooNew(f"the store has version {self.disk.version}")
        self.disk.version = 1
        self.is_open = True
        self._check()
        self.rows.open(self.disk.rows)
        self.opened += 1

    def find(self, disk: MemoryDisk) -> None:
        """Another disk is in the place of this one; it has to be opened."""
        self.disk, self.is_open = disk, False
        self.letters.held = disk.letters

    @property
    def records(self) -> dict[int, Record]:
        return self.disk.records

    @records.setter
    def records(self, records: dict[int, Record]) -> None:
        self.disk.records = records

    @property
    def _everything(self) -> dict[int, Record]:
        """Messages and changes."""
        return self.records | self.disk.changes

    @property
    def mark(self) -> Mark | None:
        return self.disk.mark

    @mark.setter
    def mark(self, mark: Mark | None) -> None:
        self.disk.mark = mark

    @property
    def name(self) -> str:
        return self.disk.name

    @name.setter
    def name(self, name: str) -> None:
        self.disk.name = name

    async def versions(self) -> Versions:
        return Versions(self.disk.version, 1)

    async def identity(self) -> str:
        self._check()
        return self.name

    async def watermark(self) -> Mark | None:
        self._check()
        return self.mark

    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        self._check()
        if self.mark != expected:
            return False
        self.mark = new
        if self.answers_lost:
            self.answers_lost -= 1
            raise StoreUnavailable("the answer was lost")
        return True

    async def head(self) -> int:
        return max(self._everything, default=0)

    async def write(self, records: Sequence[Record]) -> builtins.list[Rejection]:
        if self.gate is not None:
            await self.gate.wait()
        self._check()
        if self.write_error is not None:
            raise self.write_error
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("not now")
        self.batches.append(len(records))
        self.disk.state.fold(records)
        refused = [one for one in records if self.refuse(one)]
        rejections = [Rejection(one, "refused", "a test says so") for one in refused]
        folded = self.rows.fold([one for one in records if one not in refused])
        decoded, unfit = partition_records(folded.records, self.kinds)
        rejections += [*folded.rejections, *unfit]
        for one, _ in decoded:
            held = self.records.get(one.id) or self.disk.changes.get(one.id)
            if held is None:
                self._add(one)
            elif sameness(held) != sameness(one):
                rejections.append(conflicting(one))
        if records:
            self.rows.write(folded.without(rejections), records, self._everything)
        return rejections

    def _add(self, one: Record) -> None:
        if self.kinds.counts(one.kind):
            self.records[one.id] = one
            return
        changes = self.disk.changes
        if self.kinds.is_latest(one.kind):
            about = (one.channel, one.kind, one.target)
            for key, other in list(changes.items()):
                if (other.channel, other.kind, other.target) != about:
                    continue
                if key > one.id:
                    return
                del changes[key]
        changes[one.id] = one

    async def scan(
        self, after: int, up_to: int, limit: int, max_bytes: int
    ) -> builtins.list[Record]:
        await self._wait()
        held = self._everything
        found = [
            msgspec.structs.replace(held[key], touches=(), state=None, keys=())
            for key in sorted(held)
            if after < key <= up_to
        ]
        return take(found[:limit], lambda one: len(one.body), max_bytes)

    async def get_record(self, record_id: int) -> Entry | None:
        await self._wait()
        one = self._everything.get(record_id)
        return entry_of(one) if one is not None else None

    async def user_records(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._page(lambda one: self.disk.state.is_for(one, user), bounds, changes=True)

    async def channel_records(self, channel: str, bounds: Bounds, *, reader: str) -> list[Entry]:
        return await self._page(
            lambda one: one.channel == channel and is_for_reader(one, reader), bounds, changes=True
        )

    async def count_user_records(self, user: str, bounds: Bounds) -> int:
        return len(await self.user_records(user, bounds._replace(max_bytes=NO_BYTE_BOUND)))

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        return await self._page(
            lambda one: one.channel == channel and is_for_reader(one, ""), bounds
        )

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._page(lambda one: self.disk.state.is_for(one, user), bounds)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        return len(await self.user_page(user, bounds._replace(max_bytes=NO_BYTE_BOUND)))

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        await self._wait()
        own = [one for one in self.records.values() if self.disk.state.is_listed(one, user)]
        newest = {one.channel: one for one in sorted(own, key=lambda one: one.id)}
        found = [
            Conversation(one.channel, decode_participants(one.body).participants, one.id, one.body)
            for one in newest.values()
            if one.id < before
        ]
        found = sorted(found, key=lambda one: -one.last_id)[:limit]
        return take(found, lambda one: len(one.last_message), max_bytes)

    async def members(self, user: str, channel: str) -> Members | None:
        await self._wait()
        held = (self.records | self.disk.changes).values()
        found = [one for one in held if one.channel == channel]
        if is_member_channel(channel):
            if not self.disk.state.intervals(user, channel):
                return None
            return Members((), max([one.id for one in found if not one.audience], default=0))
        newest = max(found, key=lambda one: one.id, default=None)
        if newest is None or user not in newest.audience:
            return None
        return Members(newest.audience, newest.id)

    async def intervals(self, user: str, channel: str) -> list[Interval]:
        await self._wait()
        return self.disk.state.intervals(user, channel)

    async def state_page(self, after: str, limit: int) -> StatePage:
        self._check()
        return self.disk.state.page(after, limit)

    async def put_state(self, rows: Sequence[StateRow]) -> None:
        self._check()
        self.disk.state.put(rows)

    async def get(self, message_id: int) -> Entry | None:
        await self._wait()
        one = self.records.get(message_id)
        return entry_of(one) if one is not None else None

    async def find_client_id(
        self,
        sender: str,
        channel: str,
        client_id: str,
        *,
        after: int = 0,
        dead_letters: bool = True,
    ) -> tuple[int, bytes] | None:
        await self._wait()
        held = [*self._everything.values(), *(self.letters.records() if dead_letters else ())]
        return first_use(held, (sender, channel, client_id), after)

    async def client_ids_above(self, after: int, limit: int) -> Sequence[ClientIdAt]:
        await self._wait()
        held = self._everything
        found = [held[key] for key in sorted(held) if key > after][:limit]
        return [of for one in found for of in client_ids_of(one)]

    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        await self._wait()
        put_aside = [one for one in self.letters.records() if one.client_id or one.keys]
        newest_ms = id_ms(max([*self._everything, *(one.id for one in put_aside)], default=0))
        bound = listed_above_ms(newest_ms, since_ms)
        latest = latest_ahead([*self._everything.values(), *put_aside], bound)
        ordered = sorted(latest.items(), key=lambda one: (-one[1], one[0]))
        return PastClientIds(newest_ms, ordered[:limit])

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        self._check()
        held = [*self.records, *self.disk.changes]
        old = sorted(key for key in held if key < before_id)[:limit]
        for key in old:
            self.records.pop(key, None)
            self.disk.changes.pop(key, None)
        return len(old)

    async def ping(self) -> None:
        self._check()

    async def close(self) -> None:
        self.away = True

    async def _page(
        self, ours: Callable[[Record], bool], bounds: Bounds, *, changes: bool = False
    ) -> list[Entry]:
        await self._wait()
        held = self._everything if changes else self.records
        found = [
            entry_of(held[key])
            for key in sorted(held)
            if bounds.after < key < bounds.before and ours(held[key])
        ]
        if not bounds.newest:
            return take(found[: bounds.limit], lambda one: len(one.body), bounds.max_bytes)
        newest = found[max(len(found) - bounds.limit, 0) :][::-1]
        return take(newest, lambda one: len(one.body), bounds.max_bytes)[::-1]

    async def _wait(self) -> None:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.before_read is not None:
            self.before_read()
        self._check()

    def _check(self) -> None:
        if self.away or not self.is_open:
            raise StoreUnavailable("the store is away")
