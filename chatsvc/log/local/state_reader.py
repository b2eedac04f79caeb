"""The log's own state, read on the loop's thread through a connection of its own.

A row is one step down a short tree whose pages are in memory: ten microseconds, where a turn of
another thread costs a hundred. The connection only reads, and each read is a transaction of its
own, so that a checkpoint never waits for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from chatsvc.core.errors import LogDamaged, LogUnavailable
from chatsvc.core.filters import NO_FILTERS, Filters
from chatsvc.core.membership import Channel, Interval, Member, interval_of, is_member_channel
from chatsvc.core.record import Record
from chatsvc.core.sized_cache import SizedCache
from chatsvc.core.state_rows import ChannelRow, MemberRow
from chatsvc.log.local.busy import primary_code
from chatsvc.log.local.columns import DATA
from chatsvc.log.local.state_rows import StateRows
from chatsvc.log.local.state_tables import (
    CHANNELS,
    FILTERS,
    MEMBERS,
    MEMBERS_AFTER,
    MEMBERSHIPS,
    NEWEST_MEMBER,
    ONE_CHANNEL,
    check_row,
    decode_channel,
    decode_filter,
    decode_member,
)
from chatsvc.log.state import LogState, MemberPage, StateDue, adopting

_PATIENCE_SECONDS: Final = 0.1
_INTERVALS: Final = (
    "SELECT m.channel, m.joined, m.rev, CAST(m.data AS BLOB), m.crc, c.rev,"
    " CAST(c.data AS BLOB), c.crc FROM members m"
    " LEFT JOIN channels c ON c.channel = m.channel WHERE m.user = ?"
)
_INTERVALS_IN: Final = f"{_INTERVALS} AND m.channel = ? ORDER BY m.joined"
_CACHED: Final = 100_000
"""Intervals, filters, memberships and channels that are kept in memory: 30 MB of each."""
_ENTRY_BYTES: Final = 300
_BEFORE_MEMBERS: Final = (1, "")
"""In front of all who ever joined, and behind those that only must not join."""
_LAST_JOINED: Final = (1 << 63) - 1
"""The highest that a column holds. No id is above it before the year 6429."""
_FILTERS: Final = f"SELECT sort, target, since, rev, {DATA}, crc FROM filters WHERE user=?"

_logger = structlog.get_logger("chatsvc.log")


class LocalState(LogState):
    """The state of an open log's file.

    Args:
        path: the file.
        is_empty: whether there is no row: then nothing is asked of the file.
        is_adopting: whether the rows have to be read from a store first.
        is_new: whether no store was ever attached: then no record of the log is for members.
    """

    def __init__(
        self, path: Path, *, is_empty: bool, is_adopting: bool = False, is_new: bool = False
    ) -> None:
        self._is_empty = is_empty
        self._is_new = is_new
        self.is_adopting = is_adopting
        self._is_notifying = False
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        self._intervals: SizedCache[str, tuple[Interval, ...]] = SizedCache(_CACHED)
        self._filters: SizedCache[str, Filters] = SizedCache(_CACHED)
        self._members: SizedCache[tuple[str, str], Member] = SizedCache(_CACHED)
        self._channels: SizedCache[str, ChannelRow] = SizedCache(_CACHED)
        self._db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_PATIENCE_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )

    def rows_were_written(self, records: Sequence[Record]) -> None:
        """There is something to ask for from now on, and these records changed some of it."""
        self._is_empty = False
        for record in records:
            state = record.state
            if state is None:
                continue
            self._channels.discard(record.channel)
            if state.channel is not None and state.channel.dissolved:
                self._intervals.clear()  # of whom is not known here
            for member in state.members:
                self._intervals.discard(member.user)
                self._members.discard((record.channel, member.user))
            for one in state.filters:
                self._filters.discard(one.user)

    def on_adopted(self, call: Callable[[], Awaitable[None]]) -> None:
        self._listeners.append(call)

    def set_due(self, due: StateDue) -> None:
        """A store was attached: what has to be done to the rows now."""
        self.is_adopting, self._is_new = due is StateDue.ADOPTION, False
        self._forget()

    async def adopted(self, *, is_empty: bool) -> None:
        """The rows were read from the store.

        Args:
            is_empty: whether it had none.
        """
        self.is_adopting, self._is_empty = False, is_empty
        self._forget()
        self._is_notifying = True
        try:
            for call in self._listeners:
                await self._notify(call)
        finally:
            self._is_notifying = False

    def _forget(self) -> None:
        self._intervals.clear()
        self._filters.clear()
        self._members.clear()
        self._channels.clear()

    async def _notify(self, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except Exception:
            # The rows are there, and the others must hear of it.
            _logger.exception("adoption_listener_failed")

    def check_adopted(self) -> None:
        """Check that rows may be changed, and decided by.

        Raises:
            LogUnavailable: they are being read from the store, or who follows them reads them.
        """
        if self.is_adopting or self._is_notifying:
            raise adopting()

    def member(self, channel: str, user: str) -> Member | None:
        self.check_adopted()
        known = self._members.get((channel, user))
        if known is not None:
            return known
        for rev, data, crc, joined in self._rows(NEWEST_MEMBER, user, channel):
            _check(MEMBERS, (user, channel, joined), rev, data, crc)
            found = decode_member(data)
            self._members.add((channel, user), found, 1)
            return found
        return None

    def channel(self, channel: str) -> Channel | None:
        row = self.channel_row(channel)
        return None if row is None else row.state

    def channel_row(self, channel: str) -> ChannelRow | None:
        self.check_adopted()
        known = self._channels.get(channel)
        if known is not None:
            return known
        for rev, data, crc in self._rows(ONE_CHANNEL, channel):
            _check(CHANNELS, (channel,), rev, data, crc)
            found = ChannelRow(channel, decode_channel(data), rev)
            self._channels.add(channel, found, 1 + len(found.state.settings) // _ENTRY_BYTES)
            return found
        return None

    def has_channel(self, channel: str) -> bool:
        """Whether this is a group or a room that has begun."""
        return is_member_channel(channel) and self.channel_row(channel) is not None

    def members_page(self, channel: str, after: tuple[int, str], limit: int) -> MemberPage:
        known = self.channel(channel)
        joined, user = max(after, _BEFORE_MEMBERS)
        if (known is not None and known.dissolved) or joined > _LAST_JOINED:
            return MemberPage((), None)
        members: list[Member] = []
        rows = self._rows(MEMBERS_AFTER, channel, joined, user, limit)
        for user, joined, rev, data, crc in rows:
            _check(MEMBERS, (user, channel, joined), rev, data, crc)
            member = decode_member(data)
            if member.is_present:
                members.append(member)
        return MemberPage(members, (joined, user) if len(rows) == limit else None)

    def memberships(self, user: str) -> Sequence[MemberRow]:
        self.check_adopted()
        newest: dict[str, MemberRow] = {}
        for channel, joined, rev, data, crc in self._rows(MEMBERSHIPS, user):
            _check(MEMBERS, (user, channel, joined), rev, data, crc)
            newest[channel] = MemberRow(channel, decode_member(data), rev)
        return list(newest.values())

    def intervals(self, user: str) -> Sequence[Interval]:
        known = self._intervals.get(user)
        if known is None:
            known = self._read_intervals(user, _INTERVALS, user)
            self._intervals.add(user, known, 1 + len(known))
        return known

    def intervals_in(self, user: str, channel: str) -> Sequence[Interval]:
        return self._read_intervals(user, _INTERVALS_IN, user, channel)

    def _read_intervals(self, user: str, query: str, *key: str) -> tuple[Interval, ...]:
        if self.is_adopting and self._is_new:
            return ()
        found: list[Interval] = []
        for channel, joined, rev, data, crc, *of_channel in self._rows(query, *key):
            _check(MEMBERS, (user, channel, joined), rev, data, crc)
            dissolved = 0
            if of_channel[0] is not None:
                _check(CHANNELS, (channel,), *of_channel)
                dissolved = decode_channel(of_channel[1]).dissolved
            interval = interval_of(channel, decode_member(data), dissolved)
            if interval is not None:
                found.append(interval)
        return tuple(found)

    def filters(self, user: str) -> Filters:
        known = self._filters.get(user)
        if known is None:
            rows = self._rows(_FILTERS, user)
            for sort, of, since, *row in rows:
                _check(FILTERS, (user, sort, of, since), *row)
            known = Filters(decode_filter(data) for *_, data, _ in rows) if rows else NO_FILTERS
            self._filters.add(user, known, 1 + len(rows))
        return known

    def close(self) -> None:
        """Idempotent."""
        self._db.close()

    def _rows(self, query: str, *key: str | int) -> list[Any]:
        if self.is_adopting:
            raise adopting()
        if self._is_empty:
            return []
        try:
            return self._db.execute(query, key).fetchall()
        except sqlite3.Error as exc:
            _logger.error("log_state_not_read", error=str(exc), code=primary_code(exc))
            raise LogUnavailable("the log's state cannot be read", retry_after=1.0) from exc


def _check(*row: Any) -> None:
    try:
        check_row(*row)
    except LogDamaged as exc:
        _logger.error("log_state_damaged", error=str(exc))
        raise LogUnavailable("the log's state is damaged", retry_after=60.0) from exc


def state_of(file: StateRows) -> LocalState:
    """Return the state of a file that is open, read through a connection of its own."""
    due = StateDue(str(file.meta("state_due") or ""))
    return LocalState(
        file.path,
        is_empty=not file.has_state(),
        is_adopting=due is StateDue.ADOPTION,
        is_new=not file.meta("store"),
    )
