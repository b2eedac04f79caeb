"""The port of the log: what is acknowledged is in here, durable, in one order.

Every implementation keeps these promises; ``tests/contract/test_log.py`` holds each
to them.

1. When :meth:`MessageLog.append`'s future has a result, the record survives the death
   of the process and of the machine, as far as :attr:`MessageLog.durability` names.
2. Ids are strictly increasing in the order in which records were appended.
3. Drafts of the same key (sender, channel, ``client_id``) are one record, however many
   are in flight at once: the others resolve when the first is durable, to its id. This
   holds for as long as :meth:`MessageLog.knows_key` is true of the key.
4. By the time a future resolves, the record is in :attr:`MessageLog.tail`.
5. Nothing above the watermark is ever dropped.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from chatsvc.core.errors import Conflict
from chatsvc.core.ids import format_id
from chatsvc.core.record import Draft, Record, compose_body
from chatsvc.log.reconcile import EpochEntry, StoreState
from chatsvc.log.tail import Tail


class Appended(NamedTuple):
    """What became of a draft. ``duplicate``: an earlier append of the same key is this one."""

    id: int
    body: bytes
    duplicate: bool


def repeat_of(draft: Draft, first_id: int, first_digest: bytes) -> Appended:
    """Return what became of a draft whose key was used before.

    The body is made anew: the same digest is the same content, and everything else in it
    is the key or the id.

    Raises:
        Conflict: the first message under this key has another content.
    """
    if first_digest != draft.digest:
        raise Conflict(
            "client_id must not be used again for another message in this conversation",
            extra={"id": format_id(first_id)},
        )
    return Appended(first_id, compose_body(draft.kind, first_id, draft.rest), True)


class MessageLog(abc.ABC):
    """See the module's text for what is promised."""

    tail: Tail
    """In memory: everything above the watermark, and the recent below it."""

    @property
    @abc.abstractmethod
    def epoch(self) -> str:
        """Which epoch of the log this is: lower-case letters and digits."""

    @property
    @abc.abstractmethod
    def epochs(self) -> tuple[EpochEntry, ...]:
        """The epochs of the log that are remembered; the present one last."""

    @property
    @abc.abstractmethod
    def durability(self) -> str:
        """What an acknowledgement means, for ``/health``: for example ``fsync``."""

    @abc.abstractmethod
    def append(self, draft: Draft) -> asyncio.Future[Appended]:
        """Ask for a place in the log. Order of calls is order of ids.

        The future raises:
            Conflict: the key is known with another digest; ``extra["id"]`` is the first's.
            TooManyRequests: this sender's share of a bound is used up. Nothing was kept.
            LogUnavailable: a bound is reached, or the log is closing. Nothing was kept.
        """

    @abc.abstractmethod
    def knows_key(self, key: tuple[str, str, str]) -> bool:
        """Whether the log itself knows if this key was used.

        If not, the record of an earlier use may be in the store alone: who appends under the
        key asks there first. Any other ``client_id`` than a UUIDv7 is asked about only for a
        window after the log has lost something; else one that is forgotten is a new one.
        """

    @abc.abstractmethod
    def used_above(self, key: tuple[str, str, str]) -> int:
        """The position above which the store has the record of an earlier use, if there is one.

        What it has under the key up to there was forgotten for good.
        """

    @property
    @abc.abstractmethod
    def window_start(self) -> int:
        """What was accepted up to here is older than the window of client ids."""

    @property
    @abc.abstractmethod
    def forgotten_are_stored(self) -> bool:
        """Whether the store has the record of every key that was forgotten.

        False while a store that lost something is being filled again: that it does not find
        a key proves nothing then.
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

    @abc.abstractmethod
    def advance_watermark(self, watermark: int) -> None:
        """The store now holds everything up to here. Never goes back, but by :meth:`attach_store`.

        What is below may be forgotten, from memory by its bound and from disk after
        ``LOG_RETENTION_SECONDS``.
        """

    @property
    @abc.abstractmethod
    def met(self) -> StoreState | None:
        """The store, as it was when the log met it last; ``None``: not yet."""

    @property
    @abc.abstractmethod
    def store_from(self) -> int:
        """Where storing begins after a meeting: at ``tail.stored`` or a margin below it."""

    @abc.abstractmethod
    async def attach_store(self, store: StoreState) -> None:
        """Find out what this store holds of the log, and go by it from now on.

        It is asked for before anything is stored, and again whenever the store is not what
        it was: another one, or one that was put back. ``tail.stored`` may go down then.

        Raises:
            StoreUnavailable: somebody else writes to it.
            LogUnavailable: nothing can be kept now.
        """

    @abc.abstractmethod
    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        """The oldest records above ``after``, up to and with ``up_to``, from the log's file.

        The tail may no longer hold them. Fewer than ``limit`` if their bodies have together
        more than ``max_bytes``; none where there are none.

        Raises:
            LogDamaged: one is not what was written.
        """

    @abc.abstractmethod
    async def readmit(self, records: Sequence[Record]) -> None:
        """Place records anew, at the log's end: the store holds others under their ids.

        Durable on return. A retry of their keys is answered with the new ids.

        Raises:
            LogUnavailable: nothing was changed.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Finish what was appended, then refuse the rest. Idempotent."""
