"""A store in memory whose failures are scripted: for tests of what stands above."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Sequence

from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import id_ms
from chatsvc.core.page import MAX_PAGE_BYTES, NO_BYTE_BOUND, Bounds, Entry, take
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.storage.bodies import conflicting, decode_participants, sameness
from chatsvc.storage.client_ids import letter_key, listed_above_ms, minted_ahead_ms
from chatsvc.storage.ports.client_ids import ClientIdAt, PastClientIds
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.ports.dead_letters import DeadLetter, DeadLetters
from chatsvc.storage.ports.lifecycle import Versions
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.ports.messages import Rejection


class MemoryLetters(DeadLetters):
    """Kept in a dict. ``away`` makes the next so many calls of :meth:`put` fail."""

    def __init__(self) -> None:
        self.held: dict[int, DeadLetter] = {}
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


class MemoryStore(MessageStore):
    """Keeps the promises of the port, slowly and plainly.

    ``away`` makes every call fail; ``failures`` the next so many writes. ``gate``, where
    there is one, is waited for before a read looks and before a write writes; ``reads``
    and ``batches`` tell what was asked. ``refuse`` says for which records it never will.
    ``answers_lost`` makes so many advances of the watermark fail after they were made.
    """

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.letters = MemoryLetters()
        self.dead_letters = self.letters
        self.name = "memory"
        self.mark: Mark | None = None
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
        self._check()
        self.opened += 1

    async def versions(self) -> Versions:
        return Versions(1, 1)

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
        return max(self.records, default=0)

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
        refused = [one for one in records if self.refuse(one)]
        fit = [one for one in records if one not in refused]
        taken = [one for one in fit if sameness(self.records.get(one.id, one)) != sameness(one)]
        fit = [one for one in fit if one not in taken]
        self.records |= {one.id: one for one in fit}
        rejections = [Rejection(one, "refused", "a test says so") for one in refused]
        return rejections + [conflicting(one) for one in taken]

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        return await self._page(lambda one: one.channel == channel, bounds)

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._page(lambda one: user in one.audience, bounds)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        return len(await self.user_page(user, bounds._replace(max_bytes=NO_BYTE_BOUND)))

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        await self._wait()
        newest = {self.records[key].channel: self.records[key] for key in sorted(self.records)}
        found = [
            Conversation(one.channel, decode_participants(one.body).participants, one.id, one.body)
            for one in newest.values()
            if user in one.audience and one.id < before
        ]
        found = sorted(found, key=lambda one: -one.last_id)[:limit]
        return take(found, lambda one: len(one.last_message), max_bytes)

    async def members(self, user: str, channel: str) -> Members | None:
        await self._wait()
        for one in reversed(self.records.values()):
            if one.channel == channel and user in one.audience:
                return Members(decode_participants(one.body).participants, one.id)
        return None

    async def get(self, message_id: int) -> Entry | None:
        await self._wait()
        one = self.records.get(message_id)
        return entry(one) if one is not None else None

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
        found = [
            (one.id, one.digest)
            for one in self.records.values()
            if (one.sender, one.channel, one.client_id) == (sender, channel, client_id)
        ]
        if dead_letters:
            keys = {letter.id: letter_key(letter) for letter in self.letters.held.values()}
            found += [
                (key, one.digest or b"")
                for key, one in keys.items()
                if (one.sender, one.channel, one.client_id) == (sender, channel, client_id)
            ]
        return min((one for one in found if one[0] > after), default=None)

    async def client_ids_above(self, after: int, limit: int) -> Sequence[ClientIdAt]:
        await self._wait()
        found = [self.records[key] for key in sorted(self.records) if key > after][:limit]
        return [ClientIdAt(one.id, one.sender, one.client_id) for one in found]

    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        await self._wait()
        newest_ms = id_ms(max(self.records, default=0))
        latest: dict[str, int] = {}
        for one in self.records.values():
            minted_ms = minted_ahead_ms(one)
            if minted_ms is not None and minted_ms > listed_above_ms(newest_ms, since_ms):
                latest[one.sender] = max(minted_ms, latest.get(one.sender, 0))
        return PastClientIds(newest_ms, sorted(latest.items(), key=lambda one: -one[1])[:limit])

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        self._check()
        old = sorted(key for key in self.records if key < before_id)[:limit]
        for key in old:
            del self.records[key]
        return len(old)

    async def ping(self) -> None:
        self._check()

    async def close(self) -> None:
        self.away = True

    async def _page(self, ours: Callable[[Record], bool], bounds: Bounds) -> list[Entry]:
        await self._wait()
        found = [
            entry(self.records[key])
            for key in sorted(self.records)
            if bounds.after < key < bounds.before and ours(self.records[key])
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
        if self.away:
            raise StoreUnavailable("the store is away")


def entry(one: Record) -> Entry:
    return Entry(one.id, one.id, one.channel, one.sender, one.origin, one.audience, one.body)
