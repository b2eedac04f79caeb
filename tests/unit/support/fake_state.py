"""The log's own state in memory, and what a store is asked to do with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from chatsvc.core.filters import Filters
from chatsvc.core.membership import Channel, Filter, Interval, Member
from chatsvc.core.state_rows import StatePage, StateRow
from chatsvc.log.state import LogState, StateDue, StateExchange


class FakeState(LogState):
    """Has what a test puts there."""

    def __init__(self) -> None:
        self.members: dict[tuple[str, str], Member] = {}
        self.channels: dict[str, Channel] = {}
        self.of_user: dict[str, list[Interval]] = {}
        self.filters_of: dict[str, list[Filter]] = {}
        self.listeners: list[Callable[[], Awaitable[None]]] = []

    def on_adopted(self, call: Callable[[], Awaitable[None]]) -> None:
        self.listeners.append(call)

    def member(self, channel: str, user: str) -> Member | None:
        return self.members.get((channel, user))

    def channel(self, channel: str) -> Channel | None:
        return self.channels.get(channel)

    def intervals(self, user: str) -> Sequence[Interval]:
        return self.of_user.get(user, [])

    def intervals_in(self, user: str, channel: str) -> Sequence[Interval]:
        return [one for one in self.intervals(user) if one.channel == channel]

    def filters(self, user: str) -> Filters:
        return Filters(self.filters_of.get(user, []))


class FakeExchange(StateExchange):
    """``rows`` are the log's; ``done`` is what was asked of it, in order."""

    def __init__(self, due: StateDue = StateDue.NOTHING) -> None:
        self.due = due
        self.rows: list[StateRow] = []
        self.done: list[str] = []

    @property
    def state_due(self) -> StateDue:
        return self.due

    async def begin_adoption(self) -> None:
        self.done.append("begin")
        self.rows.clear()

    async def adopt(self, rows: Sequence[StateRow]) -> None:
        self.done.append(f"adopt {len(rows)}")
        self.rows += rows

    async def end_adoption(self) -> None:
        self.done.append("end")
        self.due = StateDue.NOTHING

    async def state_page(self, after: str, limit: int) -> StatePage:
        start = int(after or "0")
        end = start + limit
        return StatePage(self.rows[start:end], str(end) if end < len(self.rows) else "")

    async def end_rewriting(self) -> None:
        self.done.append("rewritten")
        self.due = StateDue.NOTHING
