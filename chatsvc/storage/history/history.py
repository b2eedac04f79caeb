"""History: the store up to where the tail begins, then the log's tail.

The store holds everything up to the watermark, and the tail everything above its
floor, which is never above the watermark. So a reader that takes the floor once, and
the tail's part before it waits for the store, sees each message once, whatever moves
from the one to the other meanwhile; and sees what it was just told was accepted.

Up to the tail's base the store may hold what the log does not: there both are read, and
what is in both is taken once. What may be in neither, because the store is being filled
up again or lost something for good, makes a page that is not called complete.

Of groups and rooms a reader sees what the reader's memberships say
(:mod:`chatsvc.storage.history.memberships`): pages over all conversations go by their intervals,
those of one by what of it is shown.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

from chatsvc.core.conversation import ConversationPage
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.kinds import Kinds
from chatsvc.core.membership import GROUP_PREFIX, is_member_channel
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.page import Bounds, Entry, Page
from chatsvc.log.tail import Tail
from chatsvc.storage.history.filtered import ReaderFilters, page_without
from chatsvc.storage.history.filtered_listing import listed_without
from chatsvc.storage.history.listing import ConversationListing
from chatsvc.storage.history.memberships import NO_MEMBERSHIPS, Memberships
from chatsvc.storage.history.page_reader import PageReader, ReadPage
from chatsvc.storage.history.pages import differ, entry_of
from chatsvc.storage.history.ranges import page_within, shown_to
from chatsvc.storage.history.read_queue import ReadQueue
from chatsvc.storage.history.records import RecordHistory
from chatsvc.storage.history.sources import Sources
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.ports.client_ids import ClientIdReader
from chatsvc.storage.ports.conversations import ConversationReader
from chatsvc.storage.ports.messages import MessageReader
from chatsvc.storage.ports.records import RecordReader
from chatsvc.storage.retention import KEEP_EVERYTHING, Expiry

_NOT_YET: Final = "the store is being filled up again from the log"
_NO_GROUP: Final = GROUP_PREFIX
"""The key of none."""


class HistoryStore(MessageReader, RecordReader, ConversationReader, ClientIdReader, Protocol):
    """A store, as far as history is read from it."""


class History:
    """Reads over store and tail.

    Every method raises :class:`~chatsvc.core.errors.StoreUnavailable` where the store
    is needed and unavailable, and the tail has nothing that would be an answer; and
    :class:`~chatsvc.core.errors.HistoryBusy` where too many reads wait for it; and
    :class:`~chatsvc.core.errors.LogUnavailable` where memberships cannot be read.

    ``reader`` is the user who reads: reads of the store take turns by user.

    Args:
        store: the store.
        tail: the log's.
        breaker_seconds: how long reads fail at once after the store did not answer.
        expiry: what is too old is not shown, whether or not the store has come to delete it.
        reads_at_once: how many reads the store answers at the same time.
        kinds: those that this program knows; the pages are of the kinds that count.
        memberships: who is, and was, in which groups and rooms.
        access: by which the store is asked, where it is shared; it has the two bounds then.

    ``records`` reads records of every kind.
    """

    def __init__(
        self,
        store: HistoryStore,
        tail: Tail,
        *,
        breaker_seconds: float = 1.0,
        expiry: Expiry = KEEP_EVERYTHING,
        reads_at_once: int = 3,
        kinds: Kinds = MESSAGES_ONLY,
        memberships: Memberships = NO_MEMBERSHIPS,
        access: StoreAccess | None = None,
    ) -> None:
        self._counts = kinds.counts
        self.memberships = memberships
        self._store = store
        self._tail = tail
        self._expiry = expiry
        self._access = access or StoreAccess(breaker_seconds, reads_at_once)
        self._pages = PageReader(tail, expiry)
        self._filters = filters = ReaderFilters(memberships, kinds)
        self._listing = ConversationListing(store, tail, expiry, self._access, kinds, memberships)
        self._sources = sources = Sources(store, tail, self._access, kinds, memberships)
        self.records = RecordHistory(
            store, tail, self._pages, self._access, kinds, memberships, sources, filters
        )

    @property
    def queue(self) -> ReadQueue:
        """The reads that wait for their turn."""
        return self._access.queue

    def oldest_kept(self) -> int:
        """The lowest id that has not expired; 0: none expires."""
        return self._expiry.oldest_kept()

    async def channel_page(self, channel: str, bounds: Bounds, *, reader: str = "") -> Page:
        """Messages of one conversation; of a group or a room what of it the reader is shown."""
        read = await self._channel(channel, reader)
        return await read(bounds)

    async def user_page(self, user: str, bounds: Bounds) -> Page:
        """Messages for the user, over all conversations."""
        return await self._over_all(user)(bounds)

    async def channel_around(
        self, channel: str, message_id: int, limit: int, *, reader: str = ""
    ) -> Page:
        """Up to half of ``limit`` below the id, the id itself if it exists, the rest above.

        ``has_more``: there are older ones.
        """
        read = await self._channel(channel, reader)
        return await self._pages.around(read, message_id, limit)

    async def user_around(self, user: str, message_id: int, limit: int) -> Page:
        """As :meth:`channel_around`, over all the user's conversations."""
        return await self._pages.around(self._over_all(user), message_id, limit)

    async def conversations(self, user: str, *, before: int, limit: int) -> ConversationPage:
        """The user's conversations, by their newest message, below ``before``.

        Without sets that the user has left, and without those of which nothing is shown.
        """

        async def newest_shown(channel: str, bounds: Bounds) -> Page:
            read = await self._channel(channel, user, until_found=False)
            return await read(bounds)

        return await listed_without(
            partial(self.memberships.filters, user),
            partial(self._listing.page, user),
            newest_shown,
            before=before,
            limit=limit,
        )

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        """The participants of one of the user's conversations.

        Nobody for a group or a room of which the user is or was a member. ``None``, after the
        same work, for one that does not exist and for one of others.
        """
        if is_member_channel(channel):
            return () if (await self.memberships.intervals_in(user, channel)).known else None
        oldest = self._expiry.oldest_kept()
        from_tail = partial(self._tail.channel_page, channel)
        newest = from_tail(Bounds(1, after=max(oldest - 1, 0)))
        if newest and user in newest[-1].audience:
            return newest[-1].audience  # one look, whoever asks: it must not tell what there is
        if self._tail.complete_above == 0:
            return None  # the tail holds everything there ever was
        found = await self._access.ask(user, lambda: self._store.members(user, channel))
        kept = found is not None and found.last_record >= oldest
        return found.participants if found is not None and kept else None

    async def get(self, message_id: int, *, reader: str = "") -> tuple[Entry, str] | None:
        """One message, and ``stored`` or only ``accepted``.

        ``None``, after the same work, for a message of a group or a room that is not shown to
        the reader, for one that is hidden from the reader, and for one that does not exist.
        """
        found = await self._find(message_id, reader)
        entry = None if found is None else found[0]
        hidden = self._filters.in_channel(reader, "" if entry is None else entry.channel)
        is_hidden = await hidden()  # whether or not there is a message: it must not tell
        if entry is not None and is_hidden is not None and is_hidden(entry):
            found = entry = None
        if entry is not None and reader in entry.audience:
            return found
        in_group = entry is not None and is_member_channel(entry.channel)
        channel = entry.channel if entry is not None and in_group else _NO_GROUP
        shown = await shown_to(self.memberships, self._tail, reader, channel)
        if entry is None or not in_group:
            return found
        return found if not entry.audience and shown.holds(message_id) else None

    async def _find(self, message_id: int, reader: str) -> tuple[Entry, str] | None:
        tail = self._tail
        if message_id < self._expiry.oldest_kept():
            return None
        record = tail.get(message_id)
        if record is not None:
            if not self._counts(record.kind):
                return None
            here = entry_of(record)
            if tail.stored < message_id <= tail.base:
                await self._check_place(here, reader)
            return here, "accepted" if message_id > tail.stored else "stored"
        if message_id > tail.complete_above:
            return None
        entry = await self._access.ask(reader, lambda: self._store.get(message_id))
        if entry is None and tail.relied_on < message_id <= tail.floor:
            raise StoreUnavailable(_NOT_YET)
        return (entry, "stored") if entry is not None else None

    async def _check_place(self, here: Entry, reader: str) -> None:
        """Check that the store has no other message under this id.

        Raises:
            StoreUnavailable: it has one, and this one has yet to be given another id.
        """
        try:
            stored = await self._access.ask(reader, lambda: self._store.get(here.id))
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
        return await self._access.ask(
            sender, lambda: self._store.find_client_id(sender, channel, client_id, after=after)
        )

    async def _channel(self, channel: str, reader: str, *, until_found: bool = True) -> ReadPage:
        """What reads pages of a conversation, for the user who reads."""
        hidden = self._filters.in_channel(reader, channel)
        source = self._sources.channel_messages(channel, reader)
        read: ReadPage = partial(self._pages.page, source)
        if is_member_channel(channel):
            shown = await shown_to(self.memberships, self._tail, reader, channel)
            read = partial(page_within, shown, read)
        return partial(page_without, hidden, read, until_found=until_found)

    def _over_all(self, user: str) -> ReadPage:
        """What reads pages of all the user's conversations."""
        read = partial(self._pages.page, self._sources.user_messages(user))
        return partial(page_without, self._filters.over_all(user), read)
