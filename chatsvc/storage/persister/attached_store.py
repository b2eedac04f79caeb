"""The store that the log is attached to, and whether it is still the one that it was.

The store keeps a watermark of its own, set after each batch from the value that was set before
it: where that is not what is found there, the store was put back, or somebody else writes to it,
and log and store have to meet again. Whether it is still the same store is also looked at after
a failed round, once a minute, and when it answers again after it did not: until then it may be
another one, or an older copy, and what it answers is not called complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from chatsvc.core.errors import StoreUnavailable
from chatsvc.log.base import StoreFeed
from chatsvc.log.reconcile import Mark
from chatsvc.log.state import StateDue
from chatsvc.storage.past import ClientIdHistory, learn_past
from chatsvc.storage.ports.lifecycle import StoreLifecycle
from chatsvc.storage.state_exchange import StateStore, settle_state
from chatsvc.storage.store_state import AttachableStore, state_of

LOOK_SECONDS: Final = 60.0
"""How often a store that gives no cause is looked at: it may have been put back."""

_logger = structlog.get_logger("chatsvc.persister")


class StoreMoved(Exception):
    """The store's watermark is not what was set last."""


class LookedAtStore(StoreLifecycle, AttachableStore, ClientIdHistory, StateStore, Protocol):
    """A store, as far as log and store meet."""


class AttachedStore:
    """See the module's text.

    Args:
        log: which is attached to the store as it is found.
        store: opened here if it is not yet, and again for as long as it is away.
        look_seconds: how often to look whether it is still the same store.
        attached: called once the log was attached to it anew.
    """

    def __init__(
        self,
        log: StoreFeed,
        store: LookedAtStore,
        *,
        look_seconds: float,
        attached: Callable[[], None],
    ) -> None:
        self._log = log
        self._store = store
        self._look_seconds = look_seconds
        self._attached = attached
        self._found = log.attached_store
        self._looked_at = time.monotonic()
        self._asked: Mark | None = None
        self.losses = 0
        """How often it did not answer."""
        self.must_look = (
            log.attached_store is None
            or log.past_is_unknown
            or log.exchange.state_due is not StateDue.NOTHING
        )
        """Whether it is to be looked at before anything is written."""
        self.is_back = False
        """Whether it answers again, and was not looked at since."""

    def lost(self) -> None:
        """It did not answer: until it was looked at again, it is not relied on."""
        self.losses += 1
        self.must_look = True
        self._log.tail.confirmed = False

    def is_due(self) -> bool:
        """Whether it is time to look."""
        return self.must_look or time.monotonic() - self._looked_at >= self._look_seconds

    async def look(self) -> None:
        """Go by the store as it is now.

        Raises:
            StoreUnavailable: it does not answer, or somebody else writes to it.
            VersionTooNew: written by a newer program.
        """
        self.must_look = True
        self.is_back = False
        if not await self.answers():
            self.lost()  # opening it may let readers into another file
        losses = self.losses
        store = self._store
        await store.open()
        found = await state_of(store)
        before = self._found
        same = before is not None and before.identity == found.identity
        asked = found.mark is not None and found.mark == self._asked  # its answer was lost
        if before is None or not same or (found.mark != before.mark and not asked):
            await self._log.attach_store(found)
            self._attached()
        self._found = found
        # Lost again meanwhile, it may be another one already.
        self._log.tail.confirmed = losses == self.losses
        await learn_past(self._log, store)
        await settle_state(self._log.exchange, store)
        self.must_look = losses != self.losses
        self._looked_at = time.monotonic()

    async def answers(self) -> bool:
        """Whether it answers."""
        try:
            await self._store.ping()
        except StoreUnavailable:
            return False
        except Exception:  # whatever it is, this store does not answer
            _logger.exception("store_ping_failed")
            return False
        return True

    async def mark_all_stored(self) -> None:
        """Tell the store that it has everything, where nothing of the log is left to store.

        One that an older program filled has no watermark, and one whose log was lost may have
        records above it. The next batch may be far away, and until then no projection would be
        built from what lies above the watermark.

        Raises:
            StoreMoved: its watermark is not what was set last.
            StoreUnavailable: it does not answer.
        """
        tail, found = self._log.tail, self._found
        if found is None or self.must_look:
            return
        marked = found.mark.position if found.mark is not None else 0
        position = max(tail.stored, tail.base)
        if position > marked:
            await self.advance(position, "")

    async def advance(self, position: int, content: str) -> None:
        """Tell the store that it has everything up to here, of this epoch of the log.

        Raises:
            StoreMoved: its watermark is not what was set last.
            StoreUnavailable: it does not answer.
        """
        found = self._found
        assert found is not None
        entry, mark = self._log.epochs[-1], found.mark
        new = Mark(
            position,
            entry.generation,
            entry.epoch,
            self._log.tail.hole,
            content,
            self._log.window_start,
        )
        if mark is not None:
            if mark.position > position:
                new = new._replace(position=mark.position, content=mark.content)
            if new._replace(window_start=mark.window_start) == mark:
                return  # stored again: the store has passed it before
        asked, self._asked = self._asked, new
        if not await self._store.set_watermark(mark, new):
            # An attempt before this one may have been carried out, and its answer lost.
            now = await self._store.watermark()
            done = now == new or (
                now is not None and now == asked and await self._store.set_watermark(now, new)
            )
            if not done:
                raise StoreMoved("another service writes to the store, or it was put back")
        self._found = found._replace(mark=new)
