"""History: the store up to where the tail begins, then the log's tail.

The store holds everything up to the watermark, and the tail everything above its
floor, which is never above the watermark. So a reader that takes the floor once, and
the tail's part before it waits for the store, sees each message once, whatever moves
from the one to the other meanwhile; and sees what it was just told was accepted.

Up to the tail's base the store may hold what the log does not: there both are read, and
what is in both is taken once. What may be in neither, because the store is being filled
up again or lost something for good, makes a page that is not called complete.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar

from chatsvc.core.conversation import Conversation, ConversationPage
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import MAX_PAGE_BYTES, NO_BYTE_BOUND, Bounds, Entry, Page, body_bytes, fit
from chatsvc.core.record import KIND_MESSAGE, Record
from chatsvc.log.tail import Tail, overlap
from chatsvc.storage.bodies import decode_participants
from chatsvc.storage.breaker import Breaker
from chatsvc.storage.history_pages import (
    FromTail,
    covered_by,
    cut,
    differ,
    entry_of,
    merge,
    messages_of,
)
from chatsvc.storage.ports.client_ids import ClientIdReader
from chatsvc.storage.ports.conversations import ConversationReader
from chatsvc.storage.ports.messages import MessageReader
from chatsvc.storage.read_queue import ReadQueue
from chatsvc.storage.retention import KEEP_EVERYTHING, Expiry
from chatsvc.storage.tail_conversations import TailConversations, UserConversations

T = TypeVar("T")

_NOT_YET: Final = "the store is being filled up again from the log"

_FromStore = Callable[[Bounds], Awaitable[list[Entry]]]


class HistoryStore(MessageReader, ConversationReader, ClientIdReader, Protocol):
    """A store, as far as history is read from it."""


class History:
    """Reads over store and tail.

    Every method raises :class:`~chatsvc.core.errors.StoreUnavailable` where the store
    is needed and unavailable, and the tail has nothing that would be an answer; and
    :class:`~chatsvc.core.errors.HistoryBusy` where too many reads wait for it.

    ``reader`` is the user who reads: reads of the store take turns by user.

    Args:
        store: the store.
        tail: the log's.
        breaker_seconds: how long reads fail at once after the store did not answer.
        expiry: what is too old is not shown, whether or not the store has come to delete it.
        reads_at_once: how many reads the store answers at the same time.
    """

    def __init__(
        self,
        store: HistoryStore,
        tail: Tail,
        *,
        breaker_seconds: float = 1.0,
        expiry: Expiry = KEEP_EVERYTHING,
        reads_at_once: int = 3,
    ) -> None:
        self._store = store
        self._tail = tail
        self._breaker = Breaker(breaker_seconds)
        self.queue = ReadQueue(reads_at_once)
        self._recent = TailConversations(tail)
        self._expiry = expiry

    def oldest_kept(self) -> int:
        """The lowest id that has not expired; 0: none expires."""
        return self._expiry.oldest_kept()

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
        from_tail, from_store = self._user(user)
        tail = self._tail
        above = max(bounds.after, tail.complete_above)
        here = len(messages_of(from_tail, bounds._replace(after=above)))
        if here >= bounds.limit or bounds.after >= above:
            return here
        rest = bounds._replace(limit=bounds.limit - here, before=min(bounds.before, above + 1))
        if tail.base > tail.floor:
            # Some are in both: they have to be looked at.
            return here + await self._count_both(from_tail, from_store, rest)
        return here + await self._ask(user, lambda: self._store.count_user(user, rest))

    async def _count_both(self, from_tail: FromTail, from_store: _FromStore, bounds: Bounds) -> int:
        count = 0
        rest = bounds._replace(newest=False, max_bytes=MAX_PAGE_BYTES)
        while count < bounds.limit:
            page = await self._page(from_tail, from_store, rest)
            count += len(page.entries)
            if not page.has_more:
                break
            rest = rest._replace(limit=bounds.limit - count, after=page.entries[-1].id)
        return count

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
        oldest = self._expiry.oldest_kept()
        needs_store = tail.complete_above > 0  # else the tail holds everything there ever was
        above = tail.stored if needs_store else 0
        # Until they are stored, some of them may have ids that the store has others under.
        base, stored = min(tail.base, tail.head), tail.stored
        lacking = tail.lacking()
        if tail.page(Bounds(1, after=stored, before=base + 1)):
            lacking = (*lacking, (stored, base))
        # Taken before any wait: what the tail lets go of meanwhile is in here.
        newest = recent.page(tail, above=above, before=before, limit=limit + 1)
        rows: list[Conversation] = []
        replaced: set[str] = set()
        unavailable = False
        # Else all of the page is newer than anything in the store.
        if needs_store and (len(newest) <= limit or newest[limit].id <= tail.base):
            try:
                newest, outdated = await self._not_outdated(
                    user,
                    newest,
                    lambda more: recent.page(tail, above=above, before=before, limit=more),
                )
                listed = _Listed(recent, above, before, {one.channel for one in newest}, outdated)
                rows = await self._stored_conversations(user, before, limit + 1, listed, oldest)
            except StoreUnavailable:
                await self._recent.refresh(user, recent)
                newest = recent.page(tail, above=tail.floor, before=before, limit=limit + 1)
                if not newest:
                    raise
                unavailable = True
            # What moved while the store was read is newer than anything it could answer.
            await self._recent.refresh(user, recent)
            moved = recent.page(tail, above=seen, before=MAX_ID, limit=len(recent.newest))
            replaced = {record.channel for record in moved}
            newest = [record for record in newest if record.channel not in replaced]
            newest.extend(record for record in moved if record.id < before)
        replaced |= {record.channel for record in newest}
        found = [row for row in rows if row.channel not in replaced]
        found.extend(_conversation(record) for record in newest)
        found = [conversation for conversation in found if conversation.last_id >= oldest]
        found.sort(key=lambda conversation: conversation.last_id, reverse=True)
        kept = fit(found, _size, limit, MAX_PAGE_BYTES, from_end=False)
        has_more = len(kept) < len(found) or len(rows) > limit or _too_large(rows) or unavailable
        down_to = kept[-1].last_id if has_more and kept else oldest
        after = max(down_to - 1, 0)
        complete = not unavailable and not overlap(lacking, after, before)
        return ConversationPage(kept, has_more, complete, self._lost(after, before))

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        """The participants of one of the user's conversations.

        ``None``, after the same work, for one that does not exist and for one of others.
        """
        oldest = self._expiry.oldest_kept()
        from_tail = partial(self._tail.channel_page, channel)
        newest = messages_of(from_tail, Bounds(1, after=max(oldest - 1, 0)))
        if newest and user in newest[-1].audience:
            return decode_participants(newest[-1].body).participants
        if self._tail.complete_above == 0:
            return None  # the tail holds everything there ever was
        found = await self._ask(user, lambda: self._store.members(user, channel))
        return found.participants if found is not None and found.last_id >= oldest else None

    async def get(self, message_id: int, *, reader: str = "") -> tuple[Entry, str] | None:
        """One message, and ``stored`` or only ``accepted``."""
        tail = self._tail
        if message_id < self._expiry.oldest_kept():
            return None
        record = tail.get(message_id)
        if record is not None:
            if record.kind != KIND_MESSAGE:
                return None
            here = entry_of(record)
            if tail.stored < message_id <= tail.base:
                await self._check_place(here, reader)
            return here, "accepted" if message_id > tail.stored else "stored"
        if message_id > tail.complete_above:
            return None
        entry = await self._ask(reader, lambda: self._store.get(message_id))
        if entry is None and tail.relied_on < message_id <= tail.floor:
            raise StoreUnavailable(_NOT_YET)
        return (entry, "stored") if entry is not None else None

    async def _check_place(self, here: Entry, reader: str) -> None:
        """Check that the store has no other message under this id.

        Raises:
            StoreUnavailable: it has one, and this one has yet to be given another id.
        """
        try:
            stored = await self._ask(reader, lambda: self._store.get(here.id))
        except StoreUnavailable:
            return  # then this is all there is to answer with
        if stored is not None and differ([stored], [here]):
            raise StoreUnavailable("the store has another message under this id")

    async def find_client_id(
        self, sender: str, channel: str, client_id: str, *, after: int = 0
    ) -> tuple[int, bytes] | None:
        """Id and digest of the first message under this key above an id.

        Stored, or a dead letter. The tail is not asked.
        """
        return await self._ask(
            sender, lambda: self._store.find_client_id(sender, channel, client_id, after=after)
        )

    async def _ask(self, reader: str, call: Callable[[], Awaitable[T]]) -> T:
        """The store, in turn; once it is unavailable, whoever waits is refused at once."""
        return await self.queue.run(reader, lambda: self._breaker.run(call))

    def _channel(self, channel: str, reader: str) -> tuple[FromTail, _FromStore]:
        return (
            lambda bounds: self._tail.channel_page(channel, bounds),
            lambda bounds: self._ask(reader, lambda: self._store.channel_page(channel, bounds)),
        )

    def _user(self, user: str) -> tuple[FromTail, _FromStore]:
        return (
            lambda bounds: self._tail.user_page(user, bounds),
            lambda bounds: self._ask(user, lambda: self._store.user_page(user, bounds)),
        )

    def _lost(self, after: int, before: int) -> tuple[int, int] | None:
        hole = self._tail.hole
        return hole if hole is not None and overlap([hole], after, before) else None

    def _visible(self, bounds: Bounds) -> Bounds:
        oldest = self._expiry.oldest_kept()
        return bounds._replace(after=max(bounds.after, oldest - 1))

    async def _page(self, from_tail: FromTail, from_store: _FromStore, bounds: Bounds) -> Page:
        bounds = self._visible(bounds)
        tail = self._tail
        floor, complete_above = tail.floor, tail.complete_above
        lacking = tail.lacking()
        one_more = bounds._replace(limit=bounds.limit + 1)
        # Taken before any wait: what the tail lets go of meanwhile is in here.
        here = messages_of(from_tail, one_more._replace(after=max(bounds.after, complete_above)))
        if bounds.after >= complete_above or (bounds.newest and one_more.reached_by(here)):
            return cut(here, bounds)
        below = one_more._replace(before=min(bounds.before, complete_above + 1))
        if bounds.newest:
            max_bytes = max(bounds.max_bytes - body_bytes(here), 0)
            below = below._replace(limit=bounds.limit + 1 - len(here), max_bytes=max_bytes)
        both: list[Entry] = []
        if complete_above > floor:
            both = messages_of(from_tail, below._replace(after=max(bounds.after, floor)))
        try:
            stored = await from_store(below)
        except StoreUnavailable:
            # From the other end there would be a hole between ``after`` and the first.
            if not bounds.newest or not (both or here):
                raise
            kept = cut(both + here, bounds)
            return Page(kept.entries, has_more=True, complete=False)
        page = cut(merge(stored, both) + here, bounds)
        covered = covered_by(page, bounds)
        complete = not overlap(lacking, *covered) and not differ(stored, both)
        return page._replace(complete=complete, lost=self._lost(*covered))

    async def _around(
        self, from_tail: FromTail, from_store: _FromStore, message_id: int, limit: int
    ) -> Page:
        older = Page([], has_more=True, complete=False)
        unavailable: StoreUnavailable | None = None
        try:
            bounds = Bounds(limit // 2, before=message_id, max_bytes=MAX_PAGE_BYTES // 2)
            older = await self._page(from_tail, from_store, bounds)
        except StoreUnavailable as exc:
            unavailable = exc
        rest = Bounds(
            limit - len(older.entries),
            after=max(message_id - 1, 0),
            newest=False,
            max_bytes=max(MAX_PAGE_BYTES - body_bytes(older.entries), 0),
        )
        newer = await self._page(from_tail, from_store, rest)
        if unavailable is not None and not newer.entries:
            raise unavailable
        complete = older.complete and newer.complete
        lost = older.lost or newer.lost
        has_more = older.has_more or newer.has_more
        return Page(older.entries + newer.entries, has_more, complete, lost)

    async def _stored_conversations(
        self, user: str, before: int, wanted: int, listed: _Listed, oldest: int
    ) -> list[Conversation]:
        """Read the store's conversations until there are as many as wanted.

        Neither those of which the tail has a newer message nor those that are too old to be
        shown count.
        """
        found: list[Conversation] = []
        while len(found) < wanted and not _too_large(found):
            call = partial(self._store.conversations, user, before=before, limit=wanted)
            rows = await self._ask(user, call)
            found.extend(row for row in rows if row.last_id >= oldest and not listed.has(row))
            if len(rows) < wanted and not _too_large(rows):
                break
            before = rows[-1].last_id
            if before <= oldest:
                break  # all behind it are too old
        return found[:wanted]

    async def _not_outdated(
        self, user: str, newest: list[Record], page: Callable[[int], list[Record]]
    ) -> tuple[list[Record], set[str]]:
        """What the tail lists, and the channels that the store lists in its place.

        Those are the channels of which the store has a newer message that the log does not
        know. As many as there were, if ``page`` has so many.
        """
        base, wanted = self._tail.base, len(newest)
        held = {record.channel: record for record in newest}
        outdated: set[str] = set()
        fresh = newest
        while fresh:
            for record in fresh:
                if record.id < base:
                    later = Bounds(1, after=record.id, before=base + 1)
                    call = partial(self._store.channel_page, record.channel, later)
                    if await self._ask(user, call):
                        outdated.add(record.channel)
            if not outdated:
                break
            fresh = [one for one in page(wanted + len(outdated)) if one.channel not in held]
            held |= {record.channel: record for record in fresh}
        return [one for one in held.values() if one.channel not in outdated], outdated


class _Listed(NamedTuple):
    """What the tail lists in place of the store, on this page or on the one before.

    Channels with a message above ``above``, but for those of which the store has a newer one.
    """

    recent: UserConversations
    above: int
    before: int
    held: set[str]
    outdated: set[str]

    def has(self, row: Conversation) -> bool:
        newest = self.recent.newest_in(row.channel)
        if newest <= self.above or row.channel in self.outdated:
            return False
        return newest >= self.before or row.channel in self.held


def _conversation(record: Record) -> Conversation:
    participants = decode_participants(record.body).participants
    return Conversation(record.channel, participants, record.id, record.body)


def _size(conversation: Conversation) -> int:
    return len(conversation.last_message)


def _too_large(rows: list[Conversation]) -> bool:
    """Whether a listing ended for its bytes, and not because there are no more."""
    return len(rows) > 1 and sum([_size(row) for row in rows]) > MAX_PAGE_BYTES
