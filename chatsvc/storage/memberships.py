"""Who is, and was, in which groups and rooms, and what a user does not receive.

From the log's state, and what ended long ago from the store.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.filters import Filters
from chatsvc.core.membership import Interval
from chatsvc.log.state import LogState
from chatsvc.log.tail import Tail
from chatsvc.storage.history.memberships import ChannelIntervals
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.ports.membership import StateReader


class StoredMemberships:
    """The :class:`~chatsvc.storage.history.memberships.Memberships` of a service.

    Args:
        state: the log's. It has all that matters to the tail.
        tail: the log's.
        store: has what ended below the tail's floor.
        access: by which the store is asked.
    """

    def __init__(
        self, state: LogState, tail: Tail, store: StateReader, access: StoreAccess
    ) -> None:
        self._state = state
        self._tail = tail
        self._store = store
        self._access = access

    async def intervals(self, user: str) -> Sequence[Interval]:
        return self._state.intervals(user)

    async def filters(self, user: str) -> Filters:
        return self._state.filters(user)

    async def intervals_in(self, user: str, channel: str) -> ChannelIntervals:
        before = self._state.intervals_in(user, channel)
        relied_on = self._tail.relied_on
        stored: list[Interval] = []
        unavailable: StoreUnavailable | None = None
        if self._tail.complete_above:  # else the tail holds everything there ever was
            try:
                stored = await self._access.ask(user, lambda: self._store.intervals(user, channel))
            except StoreUnavailable as exc:
                unavailable = exc
        # The log lets go of what ended once the tail does not need it: that may be meanwhile. What
        # is answered is as of this step.
        now = self._state.intervals_in(user, channel)
        found = {one.first: one for one in (*before, *now)}
        if unavailable is not None and not found:
            raise unavailable
        floor = self._tail.floor
        unknown = (0, floor) if unavailable is not None and floor else None
        for one in stored:
            held = found.setdefault(one.first, one)
            if held is one and one.last > floor:
                # The log has all that reach above the floor: this one ended there, and the store
                # was put back to before that.
                unknown = (min(relied_on, floor), floor)
                found[one.first] = one._replace(last=unknown[0])
        return ChannelIntervals([found[first] for first in sorted(found)], unknown)
