"""A user's conversations, newest first, from the store and from the log's tail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from chatsvc.core.conversation import Conversation, ConversationPage, message_bytes
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.kinds import Kinds
from chatsvc.core.membership import is_member_channel
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, fit
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail, overlap
from chatsvc.storage.bodies import decode_participants
from chatsvc.storage.history.memberships import NO_MEMBERSHIPS, Memberships
from chatsvc.storage.history.pages import lost_in
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.history.tail_conversations import TailConversations, UserConversations
from chatsvc.storage.ports.conversations import ConversationReader
from chatsvc.storage.ports.messages import MessageReader
from chatsvc.storage.retention import Expiry


class ListedStore(ConversationReader, MessageReader, Protocol):
    """A store, as far as conversations are listed from it."""


class ConversationListing:
    """Lists conversations over store and tail.

    Args:
        store: asked by ``access``.
        tail: the log's.
        expiry: what is too old is not shown.
        access: by which the store is asked.
        kinds: a record of one that counts moves its conversation up.
        memberships: which ids of groups and rooms are for a user.
    """

    def __init__(
        self,
        store: ListedStore,
        tail: Tail,
        expiry: Expiry,
        access: StoreAccess,
        kinds: Kinds = MESSAGES_ONLY,
        memberships: Memberships = NO_MEMBERSHIPS,
    ) -> None:
        self._store = store
        self._tail = tail
        self._expiry = expiry
        self._access = access
        self._memberships = memberships
        self._recent = TailConversations(tail, kinds=kinds, memberships=memberships)

    async def page(self, user: str, *, before: int, limit: int) -> ConversationPage:
        """The user's conversations, by their newest message, below ``before``.

        Raises:
            StoreUnavailable: the store is needed, and the tail has nothing that would be an answer.
        """
        with self._recent.of(user) as recent:
            return await self._page(user, before, limit, recent)

    async def _page(
        self, user: str, before: int, limit: int, recent: UserConversations
    ) -> ConversationPage:
        tail = self._tail
        await self._recent.refresh(user, recent)
        seen = tail.head
        oldest = self._expiry.oldest_kept()
        needs_store = tail.complete_above > 0  # else the tail holds everything there ever was
        above = tail.stored if needs_store else 0
        lacking = self._lacking()
        # Taken before any wait: what the tail lets go of meanwhile is in here.
        newest = recent.page(tail, above=above, before=before, limit=limit + 1)
        rows: list[Conversation] = []
        replaced: set[str] = set()
        unavailable = False
        # Else all of the page is newer than anything in the store.
        if needs_store and (len(newest) <= limit or newest[limit].id < tail.base):
            try:
                newest, outdated = await self._not_outdated(
                    user,
                    newest,
                    lambda more: recent.page(tail, above=above, before=before, limit=more),
                )
                listed = _Listed(recent, above, before, {one.channel for one in newest}, outdated)
                rows = await self._stored(user, before, limit + 1, listed, oldest)
            except StoreUnavailable:
                await self._recent.refresh(user, recent)
                newest = recent.page(tail, above=tail.floor, before=before, limit=limit + 1)
                if not newest:
                    raise
                unavailable = True
            newest, replaced = await self._with_moved(user, recent, newest, seen, before)
        found = _joined(rows, newest, replaced, oldest)
        kept = fit(found, message_bytes, limit, MAX_PAGE_BYTES, from_end=False)
        has_more = len(kept) < len(found) or len(rows) > limit or _too_large(rows) or unavailable
        down_to = kept[-1].last_id if has_more and kept else oldest
        after = max(down_to - 1, 0)
        complete = not unavailable and not overlap(lacking, after, before)
        return ConversationPage(kept, has_more, complete, lost_in(tail, after, before))

    def _lacking(self) -> tuple[tuple[int, int], ...]:
        """The id ranges of which something may be missing in the store, or be another."""
        tail = self._tail
        # Until they are stored, some of them may have ids that the store has others under.
        base, stored = min(tail.base, tail.head), tail.stored
        lacking = tail.lacking()
        if tail.page(Bounds(1, after=stored, before=base + 1)):
            lacking = (*lacking, (stored, base))
        return lacking

    async def _with_moved(
        self, user: str, recent: UserConversations, newest: list[Record], seen: int, before: int
    ) -> tuple[list[Record], set[str]]:
        """What the tail lists, and the channels with a message above ``seen``.

        What moved while the store was read is newer than anything it could answer.
        """
        await self._recent.refresh(user, recent)
        tail = self._tail
        moved = recent.page(tail, above=seen, before=MAX_ID, limit=len(recent.newest))
        replaced = {record.channel for record in moved}
        newest = [record for record in newest if record.channel not in replaced]
        newest.extend(record for record in moved if record.id < before)
        return newest, replaced

    async def _stored(
        self, user: str, before: int, wanted: int, listed: _Listed, oldest: int
    ) -> list[Conversation]:
        """Read the store's conversations until there are as many as wanted.

        Neither those of which the tail has a newer message nor those that are too old to be
        shown count.
        """
        found: list[Conversation] = []
        while len(found) < wanted and not _too_large(found):
            call = partial(self._store.conversations, user, before=before, limit=wanted)
            rows = await self._access.ask(user, call)
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
                if record.id < base and await self._has_later(user, record, base):
                    outdated.add(record.channel)
            if not outdated:
                break
            fresh = [one for one in page(wanted + len(outdated)) if one.channel not in held]
            held |= {record.channel: record for record in fresh}
        return [one for one in held.values() if one.channel not in outdated], outdated

    async def _has_later(self, user: str, record: Record, up_to: int) -> bool:
        """Whether the store has a later message of the record's conversation for the user."""
        channel, ranges = record.channel, [(record.id, up_to + 1)]
        if is_member_channel(channel):
            ranges = [
                (max(record.id, one.first - 1, one.visible_from - 1), min(up_to, one.last) + 1)
                for one in (await self._memberships.intervals_in(user, channel)).known
            ]
        for after, before in ranges:
            call = partial(self._store.channel_page, channel, Bounds(1, after, before))
            if before - after > 1:
                entries = await self._access.ask(user, call)
                if entries:
                    return True
        return False


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


def _joined(
    rows: list[Conversation], newest: list[Record], replaced: set[str], oldest: int
) -> list[Conversation]:
    """The store's and the tail's, newest first, without what is too old."""
    replaced = replaced | {record.channel for record in newest}
    found = [row for row in rows if row.channel not in replaced]
    found.extend(_conversation(record) for record in newest)
    found = [conversation for conversation in found if conversation.last_id >= oldest]
    found.sort(key=lambda conversation: conversation.last_id, reverse=True)
    return found


def _conversation(record: Record) -> Conversation:
    participants = decode_participants(record.body).participants
    return Conversation(record.channel, participants, record.id, record.body)


def _too_large(rows: list[Conversation]) -> bool:
    """Whether a listing ended for its bytes, and not because there are no more."""
    return len(rows) > 1 and sum(map(message_bytes, rows)) > MAX_PAGE_BYTES
