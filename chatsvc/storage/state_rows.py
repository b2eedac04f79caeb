"""Rows of members, channels and filters, as records change them."""

from __future__ import annotations

from collections.abc import Iterable

from chatsvc.core.record import Record
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StateRow

RowKey = tuple[str | int, ...]


def row_key(row: StateRow) -> RowKey:
    """What a store keeps one row of."""
    if isinstance(row, MemberRow):
        return "member", row.channel, row.member.user, row.member.joined
    if isinstance(row, ChannelRow):
        return "channel", row.channel
    one = row.filter
    return "filter", one.user, one.sort, one.of, one.since


def rows_of(records: Iterable[Record]) -> list[StateRow]:
    """The rows that records change, each with the record's id as its ``rev``."""
    rows: list[StateRow] = []
    for record in records:
        state = record.state
        if state is None:
            continue
        rows += [MemberRow(record.channel, one, record.id) for one in state.members]
        if state.channel is not None:
            rows.append(ChannelRow(record.channel, state.channel, record.id))
        rows += [FilterRow(one, record.id) for one in state.filters]
    return rows


def newest_rows(rows: Iterable[StateRow]) -> list[StateRow]:
    """One row of each key: that of the highest ``rev``, the first of equal ones."""
    newest: dict[RowKey, StateRow] = {}
    for row in rows:
        held = newest.setdefault(row_key(row), row)
        if held.rev < row.rev:
            newest[row_key(row)] = row
    return list(newest.values())
