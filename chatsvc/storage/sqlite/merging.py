"""Records of several conversations merged into one order: messages, or records of every kind.

The merge is the queue of a recursive query (sqlite.org/lang_with.html): it holds the next record
of each conversation, gives the foremost, and takes the next of the same conversation. It is seeded
with at most as many conversations as the page may have records.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from chatsvc.storage.sqlite.statements import MAX_ROW_ID
from chatsvc.storage.sqlite.tables import BY_NAME, CHANGE_ROW, MESSAGE_ROW


class Sort(NamedTuple):
    """Classes of the inbox, tables, and which end of a conversation tells."""

    classes: tuple[int, ...]
    tables: tuple[str, ...]
    last: str


MESSAGES: Final = Sort((MESSAGE_ROW, MESSAGE_ROW + BY_NAME), ("messages",), "last_id")
RECORDS: Final = Sort(
    (*MESSAGES.classes, CHANGE_ROW, CHANGE_ROW + BY_NAME), ("messages", "changes"), "last_record"
)


def order(*, newest: bool) -> str:
    """The order of ids, from that end."""
    return "DESC" if newest else "ASC"


def behind_all(*, newest: bool) -> int:
    """In the place of an id where there is none: it sorts behind all, from that end."""
    return 0 if newest else MAX_ROW_ID


def outermost(sort: Sort, conversation: str, low: str, high: str, *, newest: bool) -> str:
    """The newest or the oldest record above ``low``, up to ``high``, as an expression.

    Records that name whom they are for are left out.
    """
    pick, none = "max" if newest else "min", behind_all(newest=newest)
    found = [
        f"coalesce((SELECT {pick}(id) FROM {table} WHERE conversation = {conversation}"
        f" AND named IS NULL AND id > {low} AND id <= {high}), {none})"
        for table in sort.tables
    ]
    return found[0] if len(found) == 1 else f"{pick}({', '.join(found)})"


def merge(seeds: str, following: str, *, newest: bool) -> str:
    """A query for ids in the order of that end, at most ``:limit``.

    Args:
        seeds: a query for the first record of each conversation, and the conversation.
        following: the record after ``walk.id`` in ``walk.conversation``, as an expression.
    """
    direction, none = order(newest=newest), behind_all(newest=newest)
    return (
        "WITH RECURSIVE walk(id, conversation) AS ("
        f" SELECT * FROM ({seeds} ORDER BY 1 {direction} LIMIT :limit)"
        f" UNION ALL SELECT {following}, walk.conversation FROM walk WHERE walk.id <> {none}"
        f" ORDER BY 1 {direction})"
        f" SELECT id FROM walk WHERE id <> {none} LIMIT :limit"
    )
