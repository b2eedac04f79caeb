"""The intervals of a user in groups and rooms, as ranges of ids that a query asks for.

The server merges the ranges of an ``$or`` in the order of their ids where each of its parts is a
range of one index and nothing besides: where a part has another condition, or the server may
choose another index for it, it sorts all that is in the ranges (SERVER-19114, SERVER-96421).
Therefore records that are for all members have an index of their own, and queries name it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from chatsvc.core.ids import format_id
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.member_channels import MemberChannel


class Range(NamedTuple):
    """Ids of one channel, both included."""

    channel: str
    first: int
    last: int


def ranges_of(channels: Iterable[MemberChannel]) -> list[Range]:
    """The intervals of each, up to its newest record."""
    ranges = [
        Range(one.channel, interval.first, min(interval.last, one.last_record))
        for one in channels
        for interval in one.intervals
    ]
    return [one for one in ranges if one.first <= one.last]


def within_ranges(ranges: Iterable[Range], by: str) -> Document:
    """The condition that a record is in one of the ranges, and for all members there.

    Args:
        ranges: at least one.
        by: the field that holds a record's id.
    """
    return {
        "$or": [
            {
                "for_members": one.channel,
                by: {"$gte": format_id(one.first), "$lte": format_id(one.last)},
            }
            for one in ranges
        ]
    }
