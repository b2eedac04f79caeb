"""Records to rows of the embedded store, a batch in as few statements as it takes.

``executemany`` gives up the interpreter's lock for every row, and beside a busy event
loop waits for it as often; one statement with many rows waits once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final

import msgspec

from chatsvc.core.conversation import Conversation
from chatsvc.core.ids import format_id, id_ms, parse_id
from chatsvc.core.page import Bounds, Entry, take
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.storage.bodies import (
    Sameness,
    conflicting,
    decode_participants,
    partition_records,
    sameness,
)
from chatsvc.storage.client_ids import listed_above_ms, minted_ahead_ms
from chatsvc.storage.ports.client_ids import ClientIdAt, PastClientIds
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.ports.messages import Rejection

MAX_ROW_ID: Final = (1 << 63) - 1
"""Row ids are signed; ids of this service stay below until the year 6429."""

_MAX_VARIABLES: Final = 6000
_ENTRY: Final = "m.id, m.rev, m.channel, m.sender, m.origin, m.audience, m.body"
_NAMED: Final = "(SELECT value FROM json_each(?))"
# Row by row: SQLite walks the whole table for a list of (user, channel) pairs.
_LEAVE: Final = "DELETE FROM members WHERE user = ? AND channel = ?"
_names = msgspec.json.Encoder().encode


@lru_cache(maxsize=256)
def _placeholders(rows: int, width: int) -> str:
    return ",".join(["(" + ",".join("?" * width) + ")"] * rows)


def _in_bulk(
    db: sqlite3.Connection, insert: str, rows: Iterable[Sequence[Any]], width: int
) -> None:
    """Run ``insert (VALUES (…),(…))`` over all rows, some thousand values at a time."""
    remaining = iter(rows)
    while part := list(islice(remaining, _MAX_VARIABLES // width)):
        values = _placeholders(len(part), width)
        db.execute(f"{insert} (VALUES {values})", list(chain.from_iterable(part)))


def _json(names: Iterable[Any]) -> str:
    return _names(list(names)).decode()


def meta(db: sqlite3.Connection, name: str) -> str | None:
    """A value kept beside the messages."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def watermark(db: sqlite3.Connection) -> Mark | None:
    """See :meth:`~chatsvc.storage.ports.watermark.StoreWatermark.watermark`."""
    found = meta(db, "watermark")
    return None if found is None else _decode_mark(found)


def set_watermark(db: sqlite3.Connection, expected: Mark | None, new: Mark) -> bool:
    """See :meth:`~chatsvc.storage.ports.watermark.StoreWatermark.set_watermark`.

    Without an fsync of its own: in WAL mode what was committed before it is on the disk
    whenever this is, and where this is lost with the power, the batch is stored again.
    """
    db.execute("PRAGMA synchronous=NORMAL")
    try:
        if expected is None:
            done = db.execute(
                "INSERT OR IGNORE INTO meta VALUES ('watermark', ?)", (_encode_mark(new),)
            )
            return done.rowcount == 1
        found = meta(db, "watermark")
        if found is None or _decode_mark(found) != expected:
            return False
        done = db.execute(
            "UPDATE meta SET value = ? WHERE name = 'watermark' AND value = ?",
            (_encode_mark(new), found),
        )
        return done.rowcount == 1
    finally:
        db.execute("PRAGMA synchronous=FULL")


def _encode_mark(mark: Mark) -> str:
    lost = "-".join(map(format_id, mark.lost)) if mark.lost else "-"
    window_start = format_id(mark.window_start)
    place = f"{format_id(mark.position)} {mark.generation} {mark.epoch}"
    return f"{place} {lost} {mark.content or '-'} {window_start}"


def _decode_mark(text: str) -> Mark:
    position, generation, epoch, lost, content, window_start = text.split(" ")
    return Mark(
        parse_id(position),
        int(generation),
        epoch,
        (parse_id(lost[:16]), parse_id(lost[17:])) if lost != "-" else None,
        content if content != "-" else "",
        parse_id(window_start),
    )


def write_records(db: sqlite3.Connection, records: Sequence[Record]) -> list[Rejection]:
    """Store a batch, in one transaction.

    Raises:
        sqlite3.Error: nothing of the batch was stored.
    """
    decoded, rejections = partition_records(records)
    fit: list[Record] = []
    for record, _ in decoded:
        if 0 < record.id <= MAX_ROW_ID:
            fit.append(record)
        else:
            rejections.append(Rejection(record, "id_out_of_range", "the id has more than 63 bits"))
    if not fit:
        return rejections
    db.execute("BEGIN IMMEDIATE")
    try:
        known = _known(db, fit)
        fresh = stored = fit
        if known or not _is_ascending(fit):
            fresh, stored = _compare(fit, known, rejections)
        _insert(db, fresh)
        _update_conversations(db, stored)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return rejections


def _is_ascending(records: Sequence[Record]) -> bool:
    """Whether no id is there twice, as in a batch of new records."""
    last = 0
    for record in records:
        if record.id <= last:
            return False
        last = record.id
    return True


def _compare(
    records: Sequence[Record], known: dict[int, Sameness], rejections: list[Rejection]
) -> tuple[list[Record], list[Record]]:
    """Return what is to be inserted, and what is stored then; add what is something else."""
    fresh: list[Record] = []
    stored: list[Record] = []
    for record in records:
        own = sameness(record)
        held = known.setdefault(record.id, own)
        if held != own:
            rejections.append(conflicting(record))
            continue
        if held is own:
            fresh.append(record)
        stored.append(record)
    return fresh, stored


def _known(db: sqlite3.Connection, records: Sequence[Record]) -> dict[int, Sameness]:
    newest = db.execute("SELECT max(id) FROM messages").fetchone()[0]
    if newest is None or records[0].id > newest:
        return {}  # the usual case: everything is new
    found = db.execute(
        f"SELECT id, digest, channel, sender, client_id FROM messages WHERE id IN {_NAMED}",
        (_json(record.id for record in records),),
    )
    return {row[0]: Sameness(*row[1:]) for row in found}


def _insert(db: sqlite3.Connection, records: Sequence[Record]) -> None:
    _in_bulk(
        db,
        "INSERT INTO messages"
        " (id, rev, channel, sender, origin, client_id, digest, audience, body, minted_ahead_ms)"
        " SELECT * FROM",
        (
            (
                record.id,
                record.id,
                record.channel,
                record.sender,
                record.origin,
                record.client_id,
                record.digest,
                ",".join(record.audience),  # no user id holds a comma
                record.body,
                minted_ahead_ms(record),
            )
            for record in records
        ),
        10,
    )
    _in_bulk(
        db,
        "INSERT INTO audience (user, rev, id) SELECT * FROM",
        ((user, record.id, record.id) for record in records for user in record.audience),
        3,
    )


def _update_conversations(db: sqlite3.Connection, records: Sequence[Record]) -> None:
    newest = {record.channel: record for record in records}  # ascending by id
    known = {
        channel: (last_id, audience)
        for channel, last_id, audience in db.execute(
            "SELECT c.channel, c.last_id, m.audience FROM conversations c"
            f" JOIN messages m ON m.id = c.last_id WHERE c.channel IN {_NAMED}",
            (_json(newest),),
        )
    }
    moved = [
        record
        for record in newest.values()
        if record.channel not in known or record.id > known[record.channel][0]
    ]
    _in_bulk(
        db,
        "INSERT OR REPLACE INTO conversations (channel, last_id) SELECT * FROM",
        ((record.channel, record.id) for record in moved),
        2,
    )
    joining: list[tuple[str, str]] = []
    leaving: list[tuple[str, str]] = []
    for record in moved:
        now = set(record.audience)
        _, audience = known.get(record.channel, (0, ""))
        before = set(_split(audience))
        if now != before:
            joining.extend((user, record.channel) for user in sorted(now - before))
            leaving.extend((user, record.channel) for user in sorted(before - now))
    _in_bulk(db, "INSERT OR IGNORE INTO members (user, channel) SELECT * FROM", joining, 2)
    db.executemany(_LEAVE, leaving)


def purge(db: sqlite3.Connection, before_id: int, limit: int) -> int:
    """See :meth:`~chatsvc.storage.ports.messages.MessagePurger.purge`."""
    db.execute("BEGIN IMMEDIATE")
    try:
        old = db.execute(
            "SELECT id, rev, channel, audience FROM messages WHERE id < ? ORDER BY id LIMIT ?",
            (min(before_id, MAX_ROW_ID), limit),
        ).fetchall()
        ids = _json(row[0] for row in old)
        ended = db.execute(
            "SELECT c.channel, m.audience FROM conversations c JOIN messages m ON m.id = c.last_id"
            f" WHERE c.channel IN {_NAMED} AND c.last_id IN {_NAMED}",
            (_json({row[2] for row in old}), ids),
        ).fetchall()
        members = ((user, channel) for channel, users in ended for user in _split(users))
        db.executemany(_LEAVE, members)
        db.execute(
            f"DELETE FROM conversations WHERE channel IN {_NAMED}",
            (_json(channel for channel, _ in ended),),
        )
        listed = ((user, rev) for _, rev, _, users in old for user in _split(users))
        db.executemany("DELETE FROM audience WHERE user = ? AND rev = ?", listed)
        db.execute(f"DELETE FROM messages WHERE id IN {_NAMED}", (ids,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return len(old)


def _split(audience: str) -> tuple[str, ...]:
    return tuple(audience.split(",")) if audience else ()


def _entry(row: tuple[int, int, str, str, str, str, bytes]) -> Entry:
    return Entry(row[0], row[1], row[2], row[3], row[4], _split(row[5]), row[6])


def _window(bounds: Bounds) -> tuple[int, int, int]:
    return min(bounds.after, MAX_ROW_ID), min(bounds.before, MAX_ROW_ID), bounds.limit


def _page(db: sqlite3.Connection, query: str, by: str, who: str, bounds: Bounds) -> list[Entry]:
    order = "DESC" if bounds.newest else "ASC"
    found = db.execute(
        f"{query} AND {by} > ? AND {by} < ? ORDER BY {by} {order} LIMIT ?", (who, *_window(bounds))
    )
    with closing(found):  # one that is left halfway would keep the WAL from being emptied
        rows = take(found, lambda row: len(row[6]), bounds.max_bytes)
    if bounds.newest:
        rows.reverse()
    return [_entry(row) for row in rows]


def channel_page(db: sqlite3.Connection, channel: str, bounds: Bounds) -> list[Entry]:
    """Messages of one conversation, ascending."""
    query = f"SELECT {_ENTRY} FROM messages m WHERE m.channel = ?"
    return _page(db, query, "m.id", channel, bounds)


def user_page(db: sqlite3.Connection, user: str, bounds: Bounds) -> list[Entry]:
    """Messages whose audience holds the user, ascending by ``rev``."""
    query = f"SELECT {_ENTRY} FROM audience a CROSS JOIN messages m ON m.id = a.id WHERE a.user = ?"
    return _page(db, query, "a.rev", user, bounds)


def count_user(db: sqlite3.Connection, user: str, bounds: Bounds) -> int:
    """How many of them, up to the bounds' limit."""
    row = db.execute(
        "SELECT count(*) FROM"
        " (SELECT 1 FROM audience WHERE user = ? AND rev > ? AND rev < ? LIMIT ?)",
        (user, *_window(bounds)),
    ).fetchone()
    return int(row[0])


def conversations(
    db: sqlite3.Connection, user: str, before: int, limit: int, max_bytes: int
) -> list[Conversation]:
    """Newest first."""
    newest = db.execute(
        "SELECT c.last_id FROM members k CROSS JOIN conversations c ON c.channel = k.channel"
        " WHERE k.user = ? AND c.last_id < ? ORDER BY c.last_id DESC LIMIT ?",
        (user, min(before, MAX_ROW_ID), limit),
    ).fetchall()
    # One by one: a join that is sorted would hold the bodies of all of them at once.
    bodies = (
        db.execute("SELECT channel, id, body FROM messages WHERE id = ?", last_id).fetchone()
        for last_id in newest
    )
    rows = take((row for row in bodies if row is not None), lambda row: len(row[2]), max_bytes)
    return [
        Conversation(channel, decode_participants(body).participants, last_id, body)
        for channel, last_id, body in rows
    ]


def members(db: sqlite3.Connection, user: str, channel: str) -> Members | None:
    """Who is in a conversation of the user's."""
    row = db.execute(
        "SELECT c.last_id, m.body FROM members k"
        " CROSS JOIN conversations c ON c.channel = k.channel"
        " CROSS JOIN messages m ON m.id = c.last_id WHERE k.user = ? AND k.channel = ?",
        (user, channel),
    ).fetchone()
    return Members(decode_participants(row[1]).participants, row[0]) if row else None


def message(db: sqlite3.Connection, message_id: int) -> Entry | None:
    """One message."""
    row = db.execute(
        f"SELECT {_ENTRY} FROM messages m WHERE m.id = ?", (min(message_id, MAX_ROW_ID),)
    ).fetchone()
    return _entry(row) if row else None


def head(db: sqlite3.Connection) -> int:
    """The highest ``rev``: as long as nothing changes a stored message, the highest id."""
    row = db.execute("SELECT max(id) FROM messages").fetchone()
    return int(row[0] or 0)


def find_client_id(
    db: sqlite3.Connection, key: tuple[str, str, str], after: int = 0, dead_letters: bool = True
) -> tuple[int, bytes] | None:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.find_client_id`."""
    sender, channel, client_id = key
    tables = ("messages", "dead_letters") if dead_letters else ("messages",)
    query = " UNION ALL ".join(
        f"SELECT id, digest FROM {table}"
        " WHERE client_id = ? AND sender = ? AND channel = ? AND id > ?"
        for table in tables
    )
    row = db.execute(
        f"SELECT id, digest FROM ({query}) ORDER BY id LIMIT 1",
        (client_id, sender, channel, min(after, MAX_ROW_ID)) * len(tables),
    ).fetchone()
    return (row[0], row[1]) if row else None


def past_client_ids(db: sqlite3.Connection, limit: int, since_ms: int) -> PastClientIds:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.past_client_ids`."""
    letters = db.execute("SELECT max(id) FROM dead_letters WHERE client_id IS NOT NULL").fetchone()
    newest_ms = id_ms(max(head(db), int(letters[0] or 0)))
    bound = listed_above_ms(newest_ms, since_ms)
    ahead = " UNION ALL ".join(
        f"SELECT sender, minted_ahead_ms AS ms FROM {table} WHERE minted_ahead_ms > ?"
        for table in ("messages", "dead_letters")
    )
    found = db.execute(
        f"SELECT sender, max(ms) AS latest FROM ({ahead}) GROUP BY sender"
        " ORDER BY latest DESC, sender LIMIT ?",
        (bound, bound, limit),
    ).fetchall()
    return PastClientIds(newest_ms, found)


def client_ids_above(db: sqlite3.Connection, after: int, limit: int) -> list[ClientIdAt]:
    """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.client_ids_above`."""
    found = db.execute(
        "SELECT id, sender, client_id FROM messages WHERE id > ? ORDER BY id LIMIT ?",
        (min(after, MAX_ROW_ID), limit),
    )
    return [ClientIdAt(*row) for row in found]
