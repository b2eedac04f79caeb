"""The log's own state in memory, and what a store is asked to do with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from chatsvc.core.filters import Filters
from chatsvc.core.membership import Channel, Filter, Interval, Member
from chatsvc.core.record import Record
from chatsvc.core.state_rows import ChannelRow, MemberRow, StatePage, StateRow
from chatsvc.log.state import LogState, MemberPage, StateDue, StateExchange


class FakeState(LogState):
    """Has what a test puts there. Of each person in a channel it keeps the newest membership."""

    def __init__(self) -> None:
        self.members: dict[tuple[str, str], Member] = {}
        self.channels: dict[str, Channel] = {}
        self.revs: dict[str, int] = {}
        self.of_user: dict[str, list[Interval]] = {}
        self.filters_of: dict[str, list[Filter]] = {}
        self.listeners: list[Callable[[], Awaitable[None]]] = []

    def fold_members(self, records: Sequence[Record]) -> None:
        """Take the rows of members and channels out of records, as a log does."""
        for record in records:
            channel, state = record.channel, record.state
            if state is None or not (state.members or state.channel):
                continue
            for one in state.members:
                known = self.members.get((channel, one.user))
                if known is None or one.joined >= known.joined:
                    self.members[channel, one.user] = one
            row = state.channel or self.channels.get(channel) or Channel()
            present = [one for one in self._in(channel) if one.is_present and not row.dissolved]
            self.channels[channel] = msgspec.structs.replace(row, count=len(present))
            self.revs[channel] = record.id

    def on_adopted(self, call: Callable[[], Awaitable[None]]) -> None:
        self.listeners.append(call)

    def member(self, channel: str, user: str) -> Member | None:
        return self.members.get((channel, user))

    def channel(self, channel: str) -> Channel | None:
        return self.channels.get(channel)

    def channel_row(self, channel: str) -> ChannelRow | None:
        known = self.channels.get(channel)
        return None if known is None else ChannelRow(channel, known, self.revs.get(channel, 0))

    def members_page(self, channel: str, after: tuple[int, str], limit: int) -> MemberPage:
        known = self.channels.get(channel)
        if known is not None and known.dissolved:
            return MemberPage((), None)
        behind = [one for one in self._in(channel) if one.joined and _place(one) > after]
        rows = sorted(behind, key=_place)[:limit]
        end = _place(rows[-1]) if len(rows) == limit else None
        return MemberPage([one for one in rows if one.is_present], end)

    def _in(self, channel: str) -> list[Member]:
        return [one for (of, _), one in self.members.items() if of == channel]

    def memberships(self, user: str) -> Sequence[MemberRow]:
        rows = sorted((of, one) for (of, name), one in self.members.items() if name == user)
        return [MemberRow(of, one, self.revs.get(of, 0)) for of, one in rows]

    def intervals(self, user: str) -> Sequence[Interval]:
        return self.of_user.get(user, [])

    def intervals_in(self, user: str, channel: str) -> Sequence[Interval]:
        return [one for one in self.intervals(user) if one.channel == channel]

    def filters(self, user: str) -> Filters:
        return Filters(self.filters_of.get(user, []))


def _place(member: Member) -> tuple[int, str]:
    return member.joined, member.user


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
