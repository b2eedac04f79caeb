"""Rows of the log's own state as log and store hand them to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatsvc.core.membership import Channel, Filter, Member


class MemberRow(NamedTuple):
    """A membership; channel, user and ``joined`` are its key."""

    channel: str
    member: Member
    rev: int


class ChannelRow(NamedTuple):
    """A member channel; it is its own key."""

    channel: str
    state: Channel
    rev: int


class FilterRow(NamedTuple):
    """A filter; user, sort, ``of`` and ``since`` are its key."""

    filter: Filter
    rev: int


StateRow = MemberRow | ChannelRow | FilterRow
"""``rev`` is the id of the record that changed the row last."""


class StatePage(NamedTuple):
    """Rows, and from where to go on; ``after`` is ``""`` where these are the last."""

    rows: Sequence[StateRow]
    after: str
