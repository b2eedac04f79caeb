"""The port of the store: messages kept for good, and found again.

Every adapter keeps these promises; ``tests/contract/test_store.py`` holds each to
them, over a real connection.

1. When :meth:`MessageStore.write` returns, every record that is not among the
   rejections is stored durably (MongoDB: majority and journaled).
2. Writing the same record again is success and changes nothing. The same id with
   another digest, channel, sender or client_id is a rejection.
3. A failure that may pass is :class:`~chatsvc.core.errors.StoreUnavailable`, and then
   any part of the batch may have been stored. No vendor's error type leaves an adapter.
4. A page is ascending by id, and its bodies equal, as JSON values, what was written. It
   ends with the entry that takes it beyond ``max_bytes``, and what lies behind that entry
   is not read into memory, but for a batch of what the database sends at once.
5. A conversation's document never goes back: an older record, written again, does not
   replace a newer ``last_message``.
6. The watermark is what :meth:`MessageStore.set_watermark` set last, and is no more
   durable than what was written before it: a store that is put back to an earlier moment
   has the watermark of that moment, or an earlier one.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple

from chatsvc.core.conversation import Conversation
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark


class Rejection(NamedTuple):
    """A record that the store will never take; ``code`` is stable, ``reason`` is for people."""

    record: Record
    code: str
    reason: str


class Members(NamedTuple):
    """Who is in a conversation, and the id of its newest message."""

    participants: tuple[str, ...]
    last_id: int


class DeadLetter(NamedTuple):
    """What could not be stored: ``data`` is the record as packed by ``core.record.pack``.

    ``at_ms`` is when it was put aside, in Unix milliseconds.
    """

    id: int
    code: str
    reason: str
    at_ms: int
    data: bytes


class PastClientIds(NamedTuple):
    """What bounds the ``client_id``s in a store, for a log that knows nothing of them.

    ``newest_ms`` is the time (Unix ms) in the highest id of a message or a dead letter, 0 if
    there is none. ``ahead`` are senders with the time at which the latest of their ids was
    minted, where that is more than ``AHEAD_MS`` (``log/key_bounds.py``) after the message's
    own id and after the time that was asked for; the latest first.
    """

    newest_ms: int
    ahead: Sequence[tuple[str, int]]


class ClientIdAt(NamedTuple):
    """Who sent the message of this id, and its ``client_id``, if it has one."""

    id: int
    sender: str
    client_id: str | None


class Versions(NamedTuple):
    """Of the persisted form: ``found`` is 0 where nothing is there yet."""

    found: int
    current: int


class DeadLetters(abc.ABC):
    """The dead letters: records that could not be stored, each with its reason and its bytes.

    Keyed by id: adding one again replaces its reason.
    """

    @abc.abstractmethod
    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """Durable on return."""

    @abc.abstractmethod
    async def list(self, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Ascending by id."""

    @abc.abstractmethod
    async def get(self, letter_id: int) -> DeadLetter | None:
        """One of them, or ``None``."""

    @abc.abstractmethod
    async def newest(self) -> DeadLetter | None:
        """The one with the highest id, or ``None`` where there is none."""

    @abc.abstractmethod
    async def drop(self, ids: Sequence[int]) -> int:
        """Remove for good; how many there were."""

    @abc.abstractmethod
    async def count(self) -> int:
        """How many there are."""


class MessageStore(abc.ABC):
    """See the module's text for what is promised.

    Every method may raise :class:`~chatsvc.core.errors.StoreUnavailable`.
    """

    dead_letters: DeadLetters
    reads_at_once: int = 3
    """How many reads of history it answers at the same time; more would wait inside it."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Make or check the indexes and the version.

        Safe to call again; a store that was away at the first call is opened by a later one.

        Tables of an older version are moved forward.

        Raises:
            VersionTooNew: written by a newer program.
        """

    @abc.abstractmethod
    async def versions(self) -> Versions:
        """What version is there, and which this program writes; changes nothing."""

    @abc.abstractmethod
    async def identity(self) -> str:
        """A random name given to the store when it was made: watermarks belong to one.

        Looked up each time: a database may be put back, or another put in its place, under
        a service that runs. After a change :meth:`open` is called again.
        """

    @abc.abstractmethod
    async def head(self) -> int:
        """The highest ``rev`` stored, 0 if there is none."""

    @abc.abstractmethod
    async def watermark(self) -> Mark | None:
        """The watermark that the persister wrote last; ``None`` where it wrote none yet.

        It says up to which id everything is stored, and by which epoch of the log. The highest
        id stored does not prove that: batches are unordered.
        """

    @abc.abstractmethod
    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        """Set the watermark to ``new`` if it is ``expected``; return whether it was.

        ``False``: nothing was changed; another service writes here, or the store was restored.
        A call whose answer was lost may have been carried out.
        """

    @abc.abstractmethod
    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        """Store a batch, ascending by id, with its conversations."""

    @abc.abstractmethod
    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        """Messages of one conversation."""

    @abc.abstractmethod
    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        """Messages whose audience holds the user, by ``rev``."""

    @abc.abstractmethod
    async def count_user(self, user: str, bounds: Bounds) -> int:
        """How many :meth:`user_page` would find, counted up to ``bounds.limit``."""

    @abc.abstractmethod
    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        """A user's conversations whose ``last_id`` is below ``before``, newest first.

        ``max_bytes`` bounds their messages as :class:`~chatsvc.core.page.Bounds` does a page's.
        """

    @abc.abstractmethod
    async def members(self, user: str, channel: str) -> Members | None:
        """The members of one of the user's conversations.

        ``None``, after the same work, for one that does not exist and for one of others.
        """

    @abc.abstractmethod
    async def get(self, message_id: int) -> Entry | None:
        """One message."""

    @abc.abstractmethod
    async def find_client_id(
        self,
        sender: str,
        channel: str,
        client_id: str,
        *,
        after: int = 0,
        dead_letters: bool = True,
    ) -> tuple[int, bytes] | None:
        """Id and digest of the first message under this key.

        Args:
            after: only messages above this id count.
            dead_letters: whether dead letters count. One that is being replayed meanwhile is
                found in either place.
        """

    @abc.abstractmethod
    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        """What is known of the ``client_id``s in here; at most ``limit`` senders.

        Args:
            since_ms: ids minted no later than ``AHEAD_MS`` after this time are not asked for,
                or than that after the newest message, where that is the earlier one.
        """

    @abc.abstractmethod
    async def client_ids_above(self, after: int, limit: int) -> Sequence[ClientIdAt]:
        """Of the oldest messages above an id, ascending; dead letters do not count."""

    @abc.abstractmethod
    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        """Delete the oldest messages below ``before_id``, at most ``limit``; how many went.

        A conversation goes with its newest message. Call again until it returns 0.
        """

    @abc.abstractmethod
    async def ping(self) -> None:
        """Answers quickly or raises ``StoreUnavailable``."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Idempotent."""
