"""Ids of a user's records in groups and rooms, found through the intervals of memberships.

Merged (:mod:`chatsvc.storage.sqlite.merging`) is one record of each channel, however many intervals
the user has there: the next in the interval of the one before, or in an interval behind that. The
intervals of a user in a channel do not overlap, because whoever joins again has left before.

Queries have the parameters ``user``, ``after``, ``before`` and ``limit``.
"""

from __future__ import annotations

from typing import Final

from chatsvc.storage.sqlite.merging import MESSAGES, Sort, behind_all, merge, order, outermost
from chatsvc.storage.sqlite.statements import MAX_ROW_ID


def interval_end(k: str) -> str:
    """The last id of a membership, as an expression."""
    return (
        f"coalesce({k}.ended, (SELECT s.dissolved FROM channel_states s"
        f" WHERE s.conversation = {k}.conversation), {MAX_ROW_ID})"
    )


def channel_ids(sort: Sort, *, newest: bool) -> str:
    """A query for ids in all channels, in the order of that end."""
    following = _next(sort, "walk.conversation", "walk.id", newest=newest)
    return merge(_seeds(sort, newest=newest), following, newest=newest)


def _seeds(sort: Sort, *, newest: bool) -> str:
    """The first record of each channel: mostly it is in the interval at that end."""
    start = ":before" if newest else ":after"
    first = (
        f"coalesce(nullif({_in_interval(sort, 'o', start, newest=newest)},"
        f" {behind_all(newest=newest)}), {_next(sort, 'o.conversation', start, newest=newest)})"
    )
    if newest and sort is MESSAGES:  # a last record of another kind may have been replaced
        first = (
            f"CASE WHEN e.last_id < :before AND e.last_id >= o.joined"
            f" AND e.last_id <= {interval_end('o')} THEN e.last_id ELSE {first} END"
        )
    # Of the row that has the maximum, SQLite takes the other columns too.
    intervals = (
        f"SELECT conversation, {'max' if newest else 'min'}(joined) AS joined, ended"
        " FROM memberships WHERE user = :user AND joined > 0 AND joined < :before"
        " AND (ended IS NULL OR ended > :after) GROUP BY conversation"
    )
    return (
        f"SELECT {first}, o.conversation FROM ({intervals}) o"
        " CROSS JOIN conversation_ends e ON e.conversation = o.conversation"
        f" WHERE e.{sort.last} > :after"
    )


def _next(sort: Sort, conversation: str, bound: str, *, newest: bool) -> str:
    """The record of a channel that comes after ``bound``, in whichever interval."""
    none = behind_all(newest=newest)
    low, high = (":after", bound) if newest else (bound, ":before")
    begun = "0"
    if not newest:  # those that ended before it are not looked at one by one
        begun = (
            "coalesce((SELECT max(p.joined) FROM memberships p WHERE p.user = :user"
            f" AND p.conversation = {conversation} AND p.joined <= {bound}), 0)"
        )
    return (
        f"coalesce((SELECT id FROM (SELECT {_in_interval(sort, 'k', bound, newest=newest)} AS id"
        f" FROM memberships k WHERE k.user = :user AND k.conversation = {conversation}"
        f" AND k.joined >= {begun} AND k.joined > 0 AND k.joined < {high}"
        f" AND (k.ended IS NULL OR k.ended > {low})"
        f" ORDER BY k.joined {order(newest=newest)}) WHERE id <> {none} LIMIT 1), {none})"
    )


def _in_interval(sort: Sort, k: str, bound: str, *, newest: bool) -> str:
    low, before = (":after", bound) if newest else (bound, ":before")
    return outermost(
        sort,
        f"{k}.conversation",
        f"max({low}, {k}.joined - 1)",
        f"min({before} - 1, {interval_end(k)})",
        newest=newest,
    )


def channel_rows(sort: Sort) -> list[str]:
    """Queries with a row for each record in all channels, to be counted."""
    return [
        "SELECT 1 FROM memberships k"
        " CROSS JOIN conversation_ends e ON e.conversation = k.conversation"
        f" CROSS JOIN {table} r ON r.conversation = k.conversation AND r.named IS NULL"
        " AND r.id > max(:after, k.joined - 1)"
        f" AND r.id <= min(:before - 1, {interval_end('k')})"
        " WHERE k.user = :user AND k.joined > 0 AND k.joined < :before"
        " AND (k.ended IS NULL OR k.ended > :after)"
        f" AND e.{sort.last} > :after AND e.{sort.last} >= k.joined"
        for table in sort.tables
    ]


def _visible_from(k: str) -> str:
    return f"max({k}.joined, {k}.visible_from)"


_VISIBLE: Final = (
    "SELECT max(m.id) FROM messages m WHERE m.conversation = k.conversation AND m.named IS NULL"
    f" AND m.id >= {_visible_from('k')} AND m.id <= {interval_end('k')}"
)

NEWEST_MESSAGES: Final = (
    f"SELECT id FROM (SELECT CASE WHEN e.last_id >= {_visible_from('o')}"
    f" AND e.last_id <= {interval_end('o')} THEN e.last_id ELSE"
    f" (SELECT id FROM (SELECT ({_VISIBLE}) AS id FROM memberships k"
    " WHERE k.user = :user AND k.conversation = o.conversation AND k.joined > 0"
    " ORDER BY k.joined DESC) WHERE id IS NOT NULL LIMIT 1) END AS id"
    " FROM (SELECT conversation, max(joined) AS joined, ended, visible_from FROM memberships"
    " WHERE user = :user AND joined > 0 GROUP BY conversation) o"
    " CROSS JOIN conversation_ends e ON e.conversation = o.conversation)"
    " WHERE id < :before ORDER BY id DESC LIMIT :limit"
)
"""A query for the newest message that a member may see of each channel, newest first."""
