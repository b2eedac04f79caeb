"""Members, channels and filters of a store in memory: rows by their keys, folded plainly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chatsvc.core.membership import Interval, interval_of, is_member_channel
from chatsvc.core.record import Record
from chatsvc.core.state_rows import ChannelRow, MemberRow, StatePage, StateRow
from chatsvc.storage.state_rows import RowKey, newest_rows, row_key, rows_of


class MemoryState:
    """Rows by their keys."""

    def __init__(self) -> None:
        self._rows: dict[RowKey, StateRow] = {}

    def put(self, rows: Iterable[StateRow]) -> None:
        """Each replaces one of a lower ``rev``."""
        found = newest_rows([*self._rows.values(), *rows])
        self._rows = {row_key(row): row for row in found}

    def fold(self, records: Iterable[Record]) -> None:
        """Put the rows of the records."""
        if rows := rows_of(records):
            self.put(rows)

    def page(self, after: str, limit: int) -> StatePage:
        """See :meth:`~chatsvc.storage.ports.membership.StateReader.state_page`."""
        keys = sorted(self._rows)
        start = int(after or 0)
        end = start + limit
        return StatePage(
            [self._rows[key] for key in keys[start:end]], str(end) if end < len(keys) else ""
        )

    def intervals(self, user: str, channel: str) -> list[Interval]:
        """See :meth:`~chatsvc.storage.ports.membership.StateReader.intervals`."""
        whole = self._rows.get(("channel", channel))
        dissolved = whole.state.dissolved if isinstance(whole, ChannelRow) else 0
        found = [
            interval_of(channel, row.member, dissolved)
            for row in self._rows.values()
            if isinstance(row, MemberRow) and (row.channel, row.member.user) == (channel, user)
        ]
        return sorted(one for one in found if one is not None)

    def is_for(self, record: Record, user: str) -> bool:
        """Whether a user's pages have the record."""
        if record.audience or not is_member_channel(record.channel):
            return user in record.audience
        return any(one.holds(record.id) for one in self.intervals(user, record.channel))

    def is_listed(self, record: Record, user: str) -> bool:
        """Whether a user's conversations may be listed by this message."""
        if not is_member_channel(record.channel):
            return user in record.audience
        return not record.audience and any(
            one.holds(record.id) and one.visible_from <= record.id
            for one in self.intervals(user, record.channel)
        )


def is_for_reader(record: Record, reader: str) -> bool:
    """Whether the pages of its conversation have the record for this reader."""
    named = bool(record.audience) and is_member_channel(record.channel)
    return not named or reader in record.audience


def in_order(rows: Sequence[StateRow]) -> list[StateRow]:
    """Rows in the order of their keys, whatever store they are from."""
    return sorted(rows, key=row_key)
