"""A log in memory that accepts at once, and a history over its tail: for tests of what
stands above."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from chatsvc.core.conversation import Conversation, ConversationPage
from chatsvc.core.errors import Conflict, LogUnavailable, Stale, StoreUnavailable
from chatsvc.core.ids import MAX_ID, next_id, now_ms, uuid7_ms
from chatsvc.core.page import Bounds, Entry, Page, RecordPage
from chatsvc.core.record import Draft, Record, accept, moved
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.base import (
    Appended,
    EpochListener,
    LogCounts,
    MessageLog,
    check_together,
    repeat_of,
)
from chatsvc.log.guards import Guard, Touches
from chatsvc.log.idempotency import Known
from chatsvc.log.reconcile import EpochEntry, StoreState
from chatsvc.log.tail import Tail
from chatsvc.storage.history.pages import entry_of
from tests.unit.support.fake_state import FakeExchange, FakeState


class FakeLog(MessageLog):
    """Keeps the promises of the ports but durability, and has one epoch, whatever store it meets.

    ``refusing`` makes every append fail as a log at its bound does; ``refilling``: the store
    lacks some of what was forgotten.
    """

    def __init__(self) -> None:
        self.tail = Tail(recent_bytes=64 * 1024 * 1024)
        self.acknowledgements = Acknowledgements()
        self.state = FakeState()
        self.exchange = FakeExchange()
        self.records: list[Record] = []
        self.refusing = False
        self.keys_since = 0
        self.refilling = False
        self.touches = Touches(forgotten=0)
        self._met: StoreState | None = None
        self._keys: dict[tuple[str, str, str], Record] = {}
        self._repeats = 0

    @property
    def epoch(self) -> str:
        return "fake"

    @property
    def epochs(self) -> tuple[EpochEntry, ...]:
        return (EpochEntry(1, "fake", 0),)

    def on_new_epoch(self, call: EpochListener) -> None:
        """There will be none."""

    def older_than(self, seconds: float) -> int:
        return 0

    @property
    def durability(self) -> str:
        return "none"

    @property
    def refusal(self) -> LogUnavailable | None:
        if not self.refusing:
            return None
        return LogUnavailable("the backlog is at its bound", retry_after=2.5)

    @property
    def ahead_seconds(self) -> float:
        return 0.0

    @property
    def refill(self) -> int:
        return 0

    @property
    def counts(self) -> LogCounts:
        return LogCounts(repeats=self._repeats)

    def append(self, draft: Draft) -> asyncio.Future[Appended]:
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        known = self.first_use(draft.key) if draft.key is not None else None
        self._repeats += known is not None
        refusal = self.refusal
        if refusal is not None:
            future.set_exception(refusal)
        elif known is not None:
            first = self.tail.get(known.id)
            body = first.body if first is not None else None
            try:
                future.set_result(repeat_of(draft, *known, body))
            except Conflict as exc:
                future.set_exception(exc)
        else:
            with self.acknowledgements:
                future.set_result(self._accept([draft])[0])
        return future

    def append_all(
        self, drafts: Sequence[Draft], guard: Guard | None = None
    ) -> asyncio.Future[list[Appended]]:
        check_together(drafts)
        future: asyncio.Future[list[Appended]] = asyncio.get_running_loop().create_future()
        first = drafts[0]
        repeated = first.key in self._keys
        by = self.touches.stale_by(guard) if guard is not None else None
        if self.refusing or repeated:
            self.append(first).add_done_callback(lambda done: _as_list(future, done))
        elif by is not None:
            future.set_exception(Stale(by))
        else:
            with self.acknowledgements:
                future.set_result(self._accept(drafts))
        return future

    def _accept(self, drafts: Sequence[Draft]) -> list[Appended]:
        placed: list[Record] = []
        for draft in drafts:
            last = placed[-1].id if placed else self.tail.head
            placed.append(accept(draft, next_id(last, now_ms())))
            if draft.key is not None:
                self._keys[draft.key] = placed[-1]
            for one in draft.keys:
                self._keys[one.sender, draft.channel, one.client_id] = placed[-1]
        self.records += placed
        self.touches.settle(placed)
        self.tail.extend(placed)
        return [Appended(record.id, record.body, False) for record in placed]

    def knows_key(self, key: tuple[str, str, str]) -> bool:
        minted_ms = uuid7_ms(key[2])
        return key in self._keys or minted_ms is None or minted_ms >= self.keys_since

    def first_use(self, key: tuple[str, str, str]) -> Known | None:
        known = self._keys.get(key)
        if known is None:
            return None
        merged = [one.digest for one in known.keys if (one.sender, one.client_id) == key[::2]]
        return Known(known.id, merged[-1] if merged else known.digest)

    @property
    def window_start(self) -> int:
        return 0

    def uses_key(self, key: tuple[str, str, str]) -> bool:
        return self.first_use(key) is not None

    def used_above(self, key: tuple[str, str, str]) -> int:
        return 0

    @property
    def past_is_unknown(self) -> bool:
        return False

    def learn_past(self, bound_ms: int, ahead: Sequence[tuple[str, int]]) -> None:
        raise AssertionError("nothing is unknown")

    @property
    def forgotten_are_stored(self) -> bool:
        return not self.refilling

    def forget_keys(self) -> None:
        """As if the window had passed: keys made before now are the store's to know."""
        self._keys.clear()
        self.keys_since = now_ms() + 1000

    def advance_watermark(self, watermark: int) -> None:
        self.tail.advance(watermark)

    @property
    def attached_store(self) -> StoreState | None:
        return self._met

    @property
    def store_from(self) -> int:
        return self.tail.stored

    async def attach_store(self, store: StoreState) -> None:
        self._met = store

    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        return [one for one in self.records if after < one.id <= up_to][:limit]

    def hold_touches(self, above: int | None) -> None:
        self.touches.hold(above)

    async def readmit(self, records: Sequence[Record]) -> None:
        placed: list[Record] = []
        for one in records:
            last = placed[-1].id if placed else self.tail.head
            placed.append(moved(one, next_id(last, now_ms())))
            self.tail.drop(one.id)
        self.records = [one for one in self.records if one not in records] + placed
        self.tail.extend(placed)

    async def close(self) -> None:
        self.refusing = True


class FakeRecords:
    """Reads records of every kind that a :class:`FakeLog` holds."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    def oldest_kept(self) -> int:
        return 0

    async def user_page(
        self, user: str, bounds: Bounds, kinds: AbstractSet[str] | None = None
    ) -> RecordPage:
        return self._page([one for one in self._log.records if user in one.audience], bounds, kinds)

    async def channel_page(
        self, channel: str, bounds: Bounds, kinds: AbstractSet[str] | None = None, *, reader: str
    ) -> RecordPage:
        found = [one for one in self._log.records if one.channel == channel]
        return self._page(found, bounds, kinds)

    async def count_user(
        self, user: str, bounds: Bounds, kinds: AbstractSet[str] | None = None
    ) -> int:
        return len((await self.user_page(user, bounds, kinds)).entries)

    def _page(
        self, records: Sequence[Record], bounds: Bounds, kinds: AbstractSet[str] | None
    ) -> RecordPage:
        found = [
            entry_of(one)
            for one in records
            if bounds.after < one.id < bounds.before and (kinds is None or one.kind in kinds)
        ]
        page = found[: bounds.limit]
        has_more = len(page) < len(found)
        up_to = page[-1].id if has_more else min(self._log.tail.head, bounds.before - 1)
        return RecordPage(page, max(up_to, bounds.after), has_more, True)


def _as_list(future: asyncio.Future[list[Appended]], done: asyncio.Future[Appended]) -> None:
    error = done.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result([done.result()])


class FakeHistory:
    """Reads what a :class:`FakeLog` holds; plain and slow, so that it can be trusted.

    ``away`` makes every read fail as it does with the store away.
    """

    def __init__(self, log: FakeLog) -> None:
        self._log = log
        self.away = False

    async def channel_page(self, channel: str, bounds: Bounds, *, reader: str = "") -> Page:
        return self._page([r for r in self._all() if r.channel == channel], bounds)

    async def user_page(self, user: str, bounds: Bounds) -> Page:
        return self._page([r for r in self._all() if user in r.audience], bounds)

    @property
    def records(self) -> FakeRecords:
        """Records of every kind."""
        return FakeRecords(self._log)

    async def channel_around(
        self, channel: str, message_id: int, limit: int, *, reader: str = ""
    ) -> Page:
        return self._around([r for r in self._all() if r.channel == channel], message_id, limit)

    async def user_around(self, user: str, message_id: int, limit: int) -> Page:
        return self._around([r for r in self._all() if user in r.audience], message_id, limit)

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        for record in self._all():
            if record.channel == channel and user in record.audience:
                return record.audience
        return None

    async def get(self, message_id: int, *, reader: str = "") -> tuple[Entry, str] | None:
        for record in self._all():
            if record.id == message_id:
                stored = record.id <= self._log.tail.watermark
                return entry_of(record), "stored" if stored else "accepted"
        return None

    async def conversations(self, user: str, *, before: int, limit: int) -> ConversationPage:
        newest: dict[str, Record] = {}
        for record in self._all():
            if user in record.audience:
                newest[record.channel] = record
        found = sorted((r for r in newest.values() if r.id < before), key=lambda r: -r.id)
        rows = [Conversation(r.channel, r.audience, r.id, r.body) for r in found]
        return ConversationPage(rows[:limit], len(rows) > limit, True)

    async def body(self, record_id: int, *, reader: str) -> bytes | None:
        return next((one.body for one in self._all() if one.id == record_id), None)

    async def find_client_id(
        self, sender: str, channel: str, client_id: str, *, after: int = 0
    ) -> tuple[int, bytes] | None:
        for record in self._all():
            if (record.sender, record.channel, record.client_id) == (sender, channel, client_id):
                return record.id, record.digest
        return None

    def _all(self) -> Sequence[Record]:
        if self.away:
            raise StoreUnavailable("the store does not answer", retry_after=1.0)
        return self._log.records

    @staticmethod
    def _page(records: list[Record], bounds: Bounds) -> Page:
        inside = [r for r in records if bounds.after < r.id < bounds.before]
        taken = inside[-bounds.limit :] if bounds.newest else inside[: bounds.limit]
        while len(taken) > 1 and sum(len(r.body) for r in taken) > bounds.max_bytes:
            taken = taken[1:] if bounds.newest else taken[:-1]
        return Page([entry_of(r) for r in taken], len(inside) > len(taken), True)

    @classmethod
    def _around(cls, records: list[Record], message_id: int, limit: int) -> Page:
        older = cls._page(records, Bounds(limit // 2 or 1, before=message_id))
        rest = limit - len(older.entries)
        newer = cls._page(
            records, Bounds(max(rest, 1), after=message_id - 1, before=MAX_ID, newest=False)
        )
        return Page([*older.entries, *newer.entries][:limit], older.has_more, True)
