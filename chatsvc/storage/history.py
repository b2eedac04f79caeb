"""History: the store up to where the tail begins, then the log's tail.

The store holds everything up to the watermark, and the tail everything above its
floor, which is never above the watermark. So a reader that takes the floor once, and
the tail's part before it waits for the store, sees each message once, whatever moves
from the one to the other meanwhile; and sees what it was just told was accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, TypeVar

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import MAX_PAGE_BYTES, NO_BYTE_BOUND, Bounds, Entry, body_bytes, fit
from chatsvc.core.record import KIND_MESSAGE, Record
from chatsvc.log.tail import Tail
from chatsvc.storage.base import Conversation, MessageStore
from chatsvc.storage.bodies import decode_participants
from chatsvc.storage.read_queue import ReadQueue
from chatsvc.storage.retention import oldest_kept
from chatsvc.storage.tail_conversations import TailConversations, UserConversations

T = TypeVar("T")

_FromTail = Callable[[Bounds], list[Record]]
_FromStore = Callable[[Bounds], Awaitable[list[Entry]]]


class Page(NamedTuple):
    """Entries ascending by id.

    ``has_more`` speaks of the direction asked: older ones for the newest of a stretch,
    newer ones for the oldest. ``complete`` is false where the store was away and only
    what the log's tail holds is here.
    """

    entries: list[Entry]
    has_more: bool
    complete: bool


class ConversationPage(NamedTuple):
    """Conversations, newest first; the rest as in :class:`Page`."""

    conversations: list[Conversation]
    has_more: bool
    complete: bool


class Breaker:
    """After a failure, calls fail at once for a while, and then one is tried.

    Finding out that a database is away takes a driver seconds; without this, every
    reader would wait them.

    Args:
        seconds: how long.
        clock: seconds that only go up.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] | None = None) -> None:
        self._seconds = seconds
        self._clock = clock
        self._fails_until: float | None = None

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result.

        Raises:
            StoreUnavailable: the call's own, or at once.
        """
        if self._fails_until is not None:
            now = self._now()
            if now < self._fails_until:
                wait = self._fails_until - now
                raise StoreUnavailable("the store does not answer", retry_after=wait)
            self._fails_until = now + self._seconds  # this one tries; the others need not
        try:
            result = await call()
        except StoreUnavailable:
            self._fails_until = self._now() + self._seconds
            raise
        self._fails_until = None
        return result

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()


class History:
    """Reads over store and tail.

    Every method raises :class:`~chatsvc.core.errors.StoreUnavailable` where the store
    is needed and away, and the tail has nothing that would be an answer; and
    :class:`~chatsvc.core.errors.HistoryBusy` where too many reads wait for it.

    ``reader`` is the user who reads: reads of the store take turns by user.

    Args:
        store: the store.
        tail: the log's.
        breaker_seconds: how long reads fail at once after the store did not answer.
        retention_days: messages older than this are not shown, whether or not the store
            has come to delete them; 0 shows all.
        reads_at_once: how many reads the store answers at the same time.
    """

    def __init__(
        self,
        store: MessageStore,
        tail: Tail,
        *,
        breaker_seconds: float = 1.0,
        retention_days: int = 0,
        reads_at_once: int = 3,
    ) -> None:
        self._store = store
        self._tail = tail
        self._breaker = Breaker(breaker_seconds)
        self.queue = ReadQueue(reads_at_once)
        self._recent = TailConversations(tail)
        self._retention_days = retention_days

    async def channel_page(self, channel: str, bounds: Bounds, *, reader: str = "") -> Page:
        """Messages of one conversation."""
        return await self._page(*self._channel(channel, reader), bounds)

    async def user_page(self, user: str, bounds: Bounds) -> Page:
        """Messages whose audience holds the user, over all conversations."""
        return await self._page(*self._user(user), bounds)

    async def channel_around(
        self, channel: str, message_id: int, limit: int, *, reader: str = ""
    ) -> Page:
        """Up to half of ``limit`` below the id, the id itself if it exists, the rest above.

        ``has_more``: there are older ones.
        """
        return await self._around(*self._channel(channel, reader), message_id, limit)

    async def user_around(self, user: str, message_id: int, limit: int) -> Page:
        """As :meth:`channel_around`, over all the user's conversations."""
        return await self._around(*self._user(user), message_id, limit)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        """How many messages :meth:`user_page` would find, counted up to the limit."""
        bounds = self._visible(bounds)._replace(max_bytes=NO_BYTE_BOUND)
        from_tail, _ = self._user(user)
        floor = self._tail.floor
        above = len(_messages(from_tail, bounds._replace(after=max(bounds.after, floor))))
        if above >= bounds.limit or bounds.after >= floor:
            return above
        rest = bounds._replace(limit=bounds.limit - above, before=min(bounds.before, floor + 1))
        return above + await self._ask(user, lambda: self._store.count_user(user, rest))

    async def conversations(self, user: str, *, before: int, limit: int) -> ConversationPage:
        """The user's conversations, by their newest message, below ``before``."""
        with self._recent.of(user) as recent:
            return await self._conversations(user, before, limit, recent)

    async def _conversations(
        self, user: str, before: int, limit: int, recent: UserConversations
    ) -> ConversationPage:
        tail = self._tail
        await self._recent.refresh(user, recent)
        seen = tail.head
        oldest = oldest_kept(self._retention_days)
        needs_store = tail.floor > 0  # else the tail holds everything there ever was
        above = tail.watermark if needs_store else 0
        # Taken before any wait: what the tail lets go of meanwhile is in here.
        newest = recent.page(tail, above=above, before=before, limit=limit + 1)
        rows: list[Conversation] = []
        complete = True
        if needs_store and len(newest) <= limit:  # else all of the page is newer than the store
            try:
                rows = await self._stored_conversations(user, before, limit + 1, recent, above)
            except StoreUnavailable:
                await self._recent.refresh(user, recent)
                newest = recent.page(tail, above=tail.floor, before=before, limit=limit + 1)
                if not newest:
                    raise
                complete = False
            # What moved while the store was read is newer than anything it could answer.
            await self._recent.refresh(user, recent)
            moved = recent.page(tail, above=seen, before=MAX_ID, limit=len(recent.newest))
            channels = {record.channel for record in moved}
            newest = [record for record in newest if record.channel not in channels]
            newest.extend(record for record in moved if record.id < before)
        found = [row for row in rows if recent.newest_in(row.channel) <= above]
        found.extend(_conversation(record) for record in newest)
        found = [conversation for conversation in found if conversation.last_id >= oldest]
        found.sort(key=lambda conversation: conversation.last_id, reverse=True)
        kept = fit(found, _size, limit, MAX_PAGE_BYTES, from_end=False)
        has_more = len(kept) < len(found) or len(rows) > limit or _too_large(rows) or not complete
        return ConversationPage(kept, has_more, complete)

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        """Of one conversation of the user's; ``None``, after the same work, for one that does
        not exist and for one of others."""
        oldest = oldest_kept(self._retention_days)
        from_tail, _ = self._channel(channel, user)
        newest = _messages(from_tail, Bounds(1, after=max(oldest - 1, 0)))
        if newest and user in newest[-1].audience:
            return decode_participants(newest[-1].body).participants
        if self._tail.floor == 0:
            return None  # the tail holds everything there ever was
        found = await self._ask(user, lambda: self._store.members(user, channel))
        return found.participants if found is not None and found.last_id >= oldest else None

    async def get(self, message_id: int, *, reader: str = "") -> tuple[Entry, str] | None:
        """One message, and ``stored`` or only ``accepted``."""
        tail = self._tail
        if message_id < oldest_kept(self._retention_days):
            return None
        record = tail.get(message_id)
        if record is not None:
            if record.kind != KIND_MESSAGE:
                return None
            return entry_of(record), "accepted" if message_id > tail.watermark else "stored"
        if message_id > tail.floor:
            return None
        entry = await self._ask(reader, lambda: self._store.get(message_id))
        return (entry, "stored") if entry is not None else None

    async def find_client_id(
        self, sender: str, channel: str, client_id: str
    ) -> tuple[int, bytes] | None:
        """Id and digest of the first message under this key, stored or put aside; the tail is
        not asked."""
        return await self._ask(
            sender, lambda: self._store.find_client_id(sender, channel, client_id)
        )

    async def _ask(self, reader: str, call: Callable[[], Awaitable[T]]) -> T:
        """The store, in turn; once it is known to be away, whoever waited hears so at once."""
        return await self.queue.run(reader, lambda: self._breaker.run(call))

    def _channel(self, channel: str, reader: str) -> tuple[_FromTail, _FromStore]:
        return (
            lambda bounds: self._tail.channel_page(channel, bounds),
            lambda bounds: self._ask(reader, lambda: self._store.channel_page(channel, bounds)),
        )

    def _user(self, user: str) -> tuple[_FromTail, _FromStore]:
        return (
            lambda bounds: self._tail.user_page(user, bounds),
            lambda bounds: self._ask(user, lambda: self._store.user_page(user, bounds)),
        )

    def _visible(self, bounds: Bounds) -> Bounds:
        oldest = oldest_kept(self._retention_days)
        return bounds._replace(after=max(bounds.after, oldest - 1)) if oldest else bounds

    async def _page(self, from_tail: _FromTail, from_store: _FromStore, bounds: Bounds) -> Page:
        bounds = self._visible(bounds)
        floor = self._tail.floor
        limit = bounds.limit
        one_more = bounds._replace(limit=limit + 1)
        # Taken before any wait: what the tail lets go of meanwhile is in here.
        above = _messages(from_tail, one_more._replace(after=max(bounds.after, floor)))
        if bounds.after >= floor or (bounds.newest and one_more.reached_by(above)):
            return _cut(above, bounds)
        below = one_more._replace(before=min(bounds.before, floor + 1))
        if bounds.newest:
            room = max(bounds.max_bytes - body_bytes(above), 0)
            below = below._replace(limit=limit + 1 - len(above), max_bytes=room)
        try:
            stored = await from_store(below)
        except StoreUnavailable:
            # From the other end there would be a hole between ``after`` and the first.
            if not bounds.newest or not above:
                raise
            return Page(above, has_more=True, complete=False)
        return _cut(stored + above, bounds)

    async def _around(
        self, from_tail: _FromTail, from_store: _FromStore, message_id: int, limit: int
    ) -> Page:
        older = Page([], has_more=True, complete=False)
        away: StoreUnavailable | None = None
        try:
            bounds = Bounds(limit // 2, before=message_id, max_bytes=MAX_PAGE_BYTES // 2)
            older = await self._page(from_tail, from_store, bounds)
        except StoreUnavailable as exc:
            away = exc
        rest = Bounds(
            limit - len(older.entries),
            after=max(message_id - 1, 0),
            newest=False,
            max_bytes=max(MAX_PAGE_BYTES - body_bytes(older.entries), 0),
        )
        newer = await self._page(from_tail, from_store, rest)
        if away is not None and not newer.entries:
            raise away
        return Page(older.entries + newer.entries, older.has_more, older.complete)

    async def _stored_conversations(
        self, user: str, before: int, wanted: int, recent: UserConversations, above: int
    ) -> list[Conversation]:
        """Until there are as many as wanted, not counting what the tail has newer."""
        found: list[Conversation] = []
        while len(found) < wanted and not _too_large(found):
            call = partial(self._store.conversations, user, before=before, limit=wanted)
            rows = await self._ask(user, call)
            found.extend(row for row in rows if recent.newest_in(row.channel) <= above)
            if len(rows) < wanted and not _too_large(rows):
                break
            before = rows[-1].last_id
        return found[:wanted]


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
    )


def _conversation(record: Record) -> Conversation:
    participants = decode_participants(record.body).participants
    return Conversation(record.channel, participants, record.id, record.body)


def _messages(from_tail: _FromTail, bounds: Bounds) -> list[Entry]:
    """A page of the tail's messages: records of other kinds do not count."""
    found: list[Entry] = []
    rest = bounds
    while True:
        records = from_tail(rest)
        entries = [entry_of(record) for record in records if record.kind == KIND_MESSAGE]
        found = entries + found if bounds.newest else found + entries
        if not rest.reached_by(records) or bounds.reached_by(found):
            return found
        room = max(bounds.max_bytes - body_bytes(found), 0)
        rest = rest._replace(limit=bounds.limit - len(found), max_bytes=room)
        if bounds.newest:
            rest = rest._replace(before=records[0].id)
        else:
            rest = rest._replace(after=records[-1].id)


def _cut(entries: list[Entry], bounds: Bounds) -> Page:
    kept = fit(
        entries,
        lambda entry: len(entry.body),
        bounds.limit,
        bounds.max_bytes,
        from_end=bounds.newest,
    )
    return Page(kept, has_more=len(kept) < len(entries), complete=True)


def _size(conversation: Conversation) -> int:
    return len(conversation.last_message)


def _too_large(rows: list[Conversation]) -> bool:
    """Whether a listing ended for its bytes, and not because there are no more."""
    return len(rows) > 1 and sum([_size(row) for row in rows]) > MAX_PAGE_BYTES
