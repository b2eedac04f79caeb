"""The ports of the log: what is acknowledged is in here, durable, in one order.

There is one for each kind of consumer; a log is a :class:`MessageLog`, which is all of them:

* :class:`LogAppender`: the features, which append;
* :class:`LogReader`: delivery and history, which read by position;
* :class:`StoreAttachment`: whoever attaches a store to the log;
* :class:`StoreFeed`: the persister, which stores what it reads;
* :class:`LogStatus`: health and metrics.

Every implementation keeps these promises and those of the docstrings below;
``tests/contract/test_log.py`` holds each to them.

1. When :meth:`LogAppender.append`'s future has a result, the record survives the death
   of the process and of the machine, as far as :attr:`LogStatus.durability` names.
2. Ids are strictly increasing in the order in which records were appended. An append that is
   guarded may be overtaken while it is not known whether its guard holds.
3. Drafts of the same key (sender, channel, ``client_id``) are one record, however many
   are in flight at once: the others resolve when the first is durable, to its id. This
   holds for as long as :meth:`LogAppender.knows_key` is true of the key.
4. By the time a future resolves, the record is in :attr:`LogReader.tail`.
5. Nothing above the watermark is ever dropped.
6. The rows of a record's ``state`` are durable with it, with the number of members that the log
   itself counted, and are read by the time its future resolves (:class:`MessageLog`).
7. Records enter the tail and their futures resolve inside ``with`` of
   :attr:`LogReader.acknowledgements`, whose contract says what may follow the answers.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.errors import Conflict, LogUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.record import Draft, Record, compose_body
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.guards import Guard
from chatsvc.log.idempotency import Known
from chatsvc.log.reconcile import EpochEntry, StoreState
from chatsvc.log.state import LogState, StateExchange
from chatsvc.log.tail import Tail

MAX_TOGETHER: Final = 256
"""How many drafts one append may have."""
MAX_TOGETHER_BYTES: Final = 4 * 1024 * 1024
"""How many bytes of bodies the drafts of one append may have: they are in one commit."""

AHEAD_SECONDS: Final = 120.0
"""Ids that are further ahead of the clock than this are worth a warning."""

EpochListener = Callable[[tuple[EpochEntry, ...]], None]
"""Called with all epochs that are remembered, the new one last."""


class Appended(msgspec.Struct, frozen=True, gc=False):
    """What became of a draft. ``duplicate``: an earlier append of the same key is this one."""

    id: int
    body: bytes
    duplicate: bool


def check_together(drafts: Sequence[Draft]) -> None:
    """Check that drafts may be one append.

    Raises:
        ValueError: they may not; the text says what must hold.
    """
    if not 1 <= len(drafts) <= MAX_TOGETHER:
        raise ValueError(f"an append must have 1 to {MAX_TOGETHER} drafts, not {len(drafts)}")
    size = sum(len(draft.rest) for draft in drafts)
    if size > MAX_TOGETHER_BYTES:
        raise ValueError(f"an append must have at most {MAX_TOGETHER_BYTES} bytes, not {size}")
    if any(draft.client_id is not None for draft in drafts[1:]):
        raise ValueError("only the first draft of an append may have a client_id")
    if any(draft.keys for draft in drafts[1:]):
        raise ValueError("only the first draft of an append may have keys")


def key_conflict(first_id: int | None = None) -> Conflict:
    """Return the error of a request under a key that another content was sent under.

    Args:
        first_id: of the record that came of it; ``None``: it has none yet.
    """
    return Conflict(
        "client_id must not be used again for another message in this conversation",
        extra=None if first_id is None else {"id": format_id(first_id)},
    )


def repeat_of(
    draft: Draft, first_id: int, first_digest: bytes, body: bytes | None = None
) -> Appended:
    """Return what became of a draft whose key was used before.

    Without the first one's body it is made anew: the same digest is the same content, and
    everything else in it is the key or the id. It lacks the number of members, which the log put
    into the first, and what else stands in a record that several requests became.

    Raises:
        Conflict: the first message under this key has another content.
    """
    if first_digest != draft.digest:
        raise key_conflict(first_id)
    if body is None:
        body = compose_body(draft.kind, first_id, draft.rest)
    return Appended(first_id, body, True)


class LogCounts(NamedTuple):
    """What a log has counted since it was opened.

    Attributes:
        repeats: appends whose key was used already.
        keys_forgotten_early: keys that went before their window was over, for the bound on
            their number.
        over_share: appends refused because their sender's share of the backlog was used up.
        over_new_conversations: appends refused because their sender began too many
            conversations.
    """

    repeats: int = 0
    keys_forgotten_early: int = 0
    over_share: int = 0
    over_new_conversations: int = 0


class LogAppender(abc.ABC):
    """The log as the features see it: it takes drafts, and knows retries."""

    @abc.abstractmethod
    def append(self, draft: Draft) -> asyncio.Future[Appended]:
        """Ask for a place in the log. Order of calls is order of ids.

        The future raises:
            Conflict: the key is known with another digest; ``extra["id"]`` is the first's.
            TooManyRequests: this sender's share of a bound is used up. Nothing was kept.
            LogUnavailable: a bound is reached, or the log is closing. Nothing was kept.
        """

    @abc.abstractmethod
    def append_all(
        self, drafts: Sequence[Draft], guard: Guard | None = None
    ) -> asyncio.Future[list[Appended]]:
        """Ask for places in the log for all of these drafts or none: they are in one commit.

        Only the first of them may have a ``client_id``. Where that was used before, none is
        appended, and the result is one entry, that of the first. The ``client_id`` is looked at
        before the guard. A refused append refuses no other.

        Args:
            drafts: 1 to :data:`MAX_TOGETHER`, of no more than :data:`MAX_TOGETHER_BYTES`; their
                ids rise in this order.
            guard: what the decision to append them went by; see :mod:`chatsvc.log.guards`.

        Raises:
            ValueError: at once: there are too few or too many, they are too large, or a
                ``client_id`` stands on another than the first.

        The future raises what that of :meth:`append` raises, for all of them, and:
            Stale: a record touched one of the guard's keys since, or the log cannot tell. That
                record, ``by``, is in the tail by now, or it is stored.
        """

    @abc.abstractmethod
    def knows_key(self, key: tuple[str, str, str]) -> bool:
        """Whether the log itself knows if this key was used.

        If not, the record of an earlier use may be in the store alone: who appends under the
        key asks there first. Any other ``client_id`` than a UUIDv7 is asked about only for a
        window after the log has lost something; else one that is forgotten is a new one.
        """

    @abc.abstractmethod
    def first_use(self, key: tuple[str, str, str]) -> Known | None:
        """What the log itself remembers under a key, durable; ``None``: nothing.

        Also under that of a request that became a record together with others, for which
        :meth:`append_all` looks at no key but the record's own. Whoever decides on such requests
        looks here in the step in which the decision is made.
        """

    @abc.abstractmethod
    def uses_key(self, key: tuple[str, str, str]) -> bool:
        """Whether a record under this key is in the log's memory, or a draft is on its way.

        :meth:`append_all` answers a further one from that, before it looks at a guard.
        """

    @abc.abstractmethod
    def used_above(self, key: tuple[str, str, str]) -> int:
        """The position above which the store has the record of an earlier use, if there is one.

        What it has under the key up to there was forgotten for good.
        """

    @property
    @abc.abstractmethod
    def forgotten_are_stored(self) -> bool:
        """Whether the store has the record of every key that was forgotten.

        False while a store that lost something is being filled again: that it does not find
        a key proves nothing then.
        """


class LogReader(abc.ABC):
    """The log as its readers see it: records and epochs, by position."""

    tail: Tail
    """In memory: everything above the watermark, and the recent below it."""

    acknowledgements: Acknowledgements
    """Runs what must come after the answers to a commit."""

    @property
    @abc.abstractmethod
    def epoch(self) -> str:
        """Which epoch of the log this is: lower-case letters and digits."""

    @property
    @abc.abstractmethod
    def epochs(self) -> tuple[EpochEntry, ...]:
        """The epochs of the log that are remembered; the present one last."""

    @abc.abstractmethod
    def on_new_epoch(self, call: EpochListener) -> None:
        """Call when a new epoch begins while the log is open, in the step in which it does."""

    @abc.abstractmethod
    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        """The oldest records above ``after``, up to and with ``up_to``, as they were written.

        The tail may no longer hold them. Fewer than ``limit`` if their bodies have together
        more than ``max_bytes``; none where there are none.

        Raises:
            LogDamaged: one is not what was written.
        """

    @abc.abstractmethod
    def older_than(self, seconds: float) -> int:
        """The highest position known to be at least so many seconds old, 0 if there is none.

        By the time that has passed, never by a wall clock. May be lower than the truth, never
        higher.
        """


class StoreAttachment(abc.ABC):
    """Which store the log is attached to, and what either knows of the other."""

    @property
    @abc.abstractmethod
    def attached_store(self) -> StoreState | None:
        """The store, as it was when the log was attached to it last; ``None``: not yet."""

    @property
    @abc.abstractmethod
    def store_from(self) -> int:
        """Where storing begins after attaching: at ``tail.stored`` or a margin below it."""

    @abc.abstractmethod
    async def attach_store(self, store: StoreState) -> None:
        """Find out what this store holds of the log, and go by it from now on.

        It is asked for before anything is stored, and again whenever the store is not what
        it was: another one, or one that was put back. ``tail.stored`` may go down then. Where
        the store holds what the log does not, a new epoch begins, with ids above all of it.

        Raises:
            StoreUnavailable: somebody else writes to it.
            LogUnavailable: nothing can be kept now.
        """

    @property
    @abc.abstractmethod
    def past_is_unknown(self) -> bool:
        """Whether the store may hold keys that this log never knew, and was not asked yet."""

    @abc.abstractmethod
    def learn_past(self, bound_ms: int, ahead: Sequence[tuple[str, int]]) -> None:
        """What the store holds of keys that this log never knew.

        The arguments are those of :meth:`~chatsvc.log.key_bounds.KeyBounds.learn_past`.
        """


class StoreFeed(LogReader, StoreAttachment):
    """The log as the persister sees it: what is to be stored, and how far that has come."""

    exchange: StateExchange
    """How the log's own state and a store's replace each other."""

    @property
    @abc.abstractmethod
    def window_start(self) -> int:
        """What was accepted up to here is older than the window of client ids."""

    @abc.abstractmethod
    def advance_watermark(self, watermark: int) -> None:
        """The store now holds everything up to here. Never goes back, but by :meth:`attach_store`.

        What is below may be forgotten, from memory by its bound and from disk after
        ``LOG_RETENTION_SECONDS``.
        """

    @abc.abstractmethod
    def hold_touches(self, above: int | None) -> None:
        """Rows of the store are folded only up to here; ``None``: up to what is stored.

        What is decided by them is compared with what was touched since, so that is not
        forgotten, as far as a bound goes (:mod:`chatsvc.log.guards`).
        """

    @abc.abstractmethod
    async def readmit(self, records: Sequence[Record]) -> None:
        """Place records anew, at the log's end: the store holds others under their ids.

        Durable on return. A retry of their keys is answered with the new ids. A new epoch
        begins, for something below its head was not sent to anybody.

        Raises:
            LogUnavailable: nothing was changed.
        """


class LogStatus(abc.ABC):
    """The log as its operators see it: what health and metrics tell."""

    tail: Tail
    """The same as :attr:`LogReader.tail`: how much is not stored yet, and how much is recent."""

    @property
    @abc.abstractmethod
    def durability(self) -> str:
        """What an acknowledgement means, for ``/health``: for example ``fsync``."""

    @property
    @abc.abstractmethod
    def refusal(self) -> LogUnavailable | None:
        """Why sends are refused now, or ``None`` while they are taken."""

    @property
    @abc.abstractmethod
    def ahead_seconds(self) -> float:
        """By how much the ids are ahead of the wall clock; 0 where they are not.

        The clock was wrong, or it is: new messages carry the time of the ids until it has
        caught up. More than :data:`AHEAD_SECONDS` is worth a warning.
        """

    @property
    @abc.abstractmethod
    def refill(self) -> int:
        """How many records the store lacks that one before it had, and the log still holds."""

    @property
    @abc.abstractmethod
    def counts(self) -> LogCounts:
        """What was counted up to now. None of the numbers ever goes down."""


class MessageLog(LogAppender, StoreFeed, LogStatus):
    """A whole log: every port, and its end. Whoever opens one closes it."""

    state: LogState
    """What is kept beside the records: members, channels, filters."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Finish what was appended, then refuse the rest. Idempotent."""
