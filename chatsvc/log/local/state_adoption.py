"""The log's own state in its file, dropped, taken from a store, and read for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from chatsvc.core.errors import LogDamaged
from chatsvc.core.membership import Channel, StateChange
from chatsvc.core.record import Record
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StatePage, StateRow
from chatsvc.log.local.columns import DATA
from chatsvc.log.local.state_rows import StateRows
from chatsvc.log.local.state_tables import (
    CHANNELS,
    FILTERS,
    MEMBERS,
    SORTS,
    Key,
    Sort,
    check_row,
    decode_channel,
    decode_filter,
    decode_member,
    filter_key,
    member_key,
)

_encode_key = msgspec.json.Encoder().encode
_decode_key = msgspec.json.Decoder(list[Any]).decode

_logger = structlog.get_logger("chatsvc.log")


class StateAdoption(StateRows):
    """What :class:`~chatsvc.log.state.StateExchange` asks of the file. Everything blocks."""

    def drop_state(self) -> None:
        """Delete all rows. Until others are settled the file says so (``state_dropped``)."""
        with self._transaction():
            self.set_meta("state_dropped", 1)
            for sort in SORTS:
                self._write(f"DELETE FROM {sort.table}", ())

    def adopt(self, rows: Sequence[StateRow]) -> None:
        """Write rows whose ``rev`` is above that of the row that is there, in one transaction."""
        with self._transaction():
            for row in rows:
                match row:
                    case MemberRow(channel, member, rev):
                        self.put_member(channel, rev, member)
                    case ChannelRow(channel, state, rev):
                        self.put(CHANNELS, (channel,), rev, state)
                    case FilterRow(one, rev):
                        self.put(FILTERS, filter_key(one), rev, one)

    def fold_again(self, records: Sequence[Record]) -> bool:
        """Fold records that are in the file on top of the rows, in one transaction.

        A row that has been changed since stays as it is. What comes of it is not counted again,
        and rows of two pasts may contradict each other (``log/state_repair.py``).

        Returns:
            Whether a row is another now.
        """
        changed = False
        with self._transaction():
            for record in records:
                if record.state is not None:
                    changed |= self._fold(record, record.state)
        return changed

    def _fold(self, record: Record, state: StateChange) -> bool:
        channel = record.channel
        members = [
            one for one in state.members if record.id > self._rev(MEMBERS, member_key(channel, one))
        ]
        for member in members:
            self.put_member(channel, record.id, member)
        named = state.channel
        if named is not None:
            if record.id > self._rev(CHANNELS, (channel,)):
                self.put(CHANNELS, (channel,), record.id, self._ended(channel, named))
            else:
                named = None
        filters = [one for one in state.filters if record.id > self._rev(FILTERS, filter_key(one))]
        for one in filters:
            self.put(FILTERS, filter_key(one), record.id, one)
        return bool(members or filters) or named is not None

    def _ended(self, channel: str, named: Channel) -> Channel:
        """A channel's row as a record names it: one that has ended anywhere stays ended."""
        row = self._stored(CHANNELS, (channel,))
        if named.dissolved or row is None:
            return named
        return msgspec.structs.replace(named, dissolved=decode_channel(row.data).dissolved)

    def _rev(self, sort: Sort, key: Key) -> int:
        row = self._stored(sort, key)
        return 0 if row is None else row.rev

    def state_page(self, after: str, limit: int) -> StatePage:
        """Rows in the order of their sorts and keys; one that is damaged is left out, and logged.

        Args:
            after: ``""``, or that of the page before.
        """
        start, key = 0, list[Any]()
        if after:
            start, *key = _decode_key(after)
        rows: list[StateRow] = []
        for number in range(start, len(SORTS)):
            left = limit - len(rows)
            found = self._rows_after(SORTS[number], key, left)
            rows += [row for _, row in found if row is not None]
            if len(found) == left:
                return StatePage(rows, _encode_key([number, *found[-1][0]]).decode())
            key = []
        return StatePage(rows, "")

    def _rows_after(
        self, sort: Sort, after: list[Any], limit: int
    ) -> list[tuple[tuple[Any, ...], StateRow | None]]:
        columns = ", ".join(sort.key)
        where = f"WHERE ({columns}) > ({','.join('?' * len(after))})" if after else ""
        query = f"SELECT {columns}, rev, {DATA}, crc FROM {sort.table} {where} ORDER BY {columns}"
        found = self._db.execute(f"{query} LIMIT ?", (*after, limit)).fetchall()
        width = len(sort.key)
        return [(row[:width], _row(sort, row[:width], *row[width:])) for row in found]


def _row(sort: Sort, key: tuple[Any, ...], rev: int, data: bytes, crc: int) -> StateRow | None:
    try:
        check_row(sort, key, rev, data, crc)
    except LogDamaged as exc:
        _logger.error("log_state_damaged", error=str(exc))
        return None
    if sort is MEMBERS:
        return MemberRow(key[1], decode_member(data), rev)
    if sort is CHANNELS:
        return ChannelRow(key[0], decode_channel(data), rev)
    return FilterRow(decode_filter(data), rev)
