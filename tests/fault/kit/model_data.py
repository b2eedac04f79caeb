"""What the model keeps: messages that were sent and held, readers, and what a run may do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from chatsvc.storage.sqlite.entries import entries_of, records_by_id

CONVERSATIONS = (
    ("alice", "bob"),
    ("alice", "carol"),
    ("alice", "bob", "carol"),
    ("alice", "bob", "carol", "dave", "erin"),  # large: kept by conversation
)
USERS = ("alice", "bob", "carol")
HOUR_MS = 3_600_000
WINDOW_MS = 600_000


class Sent(NamedTuple):
    """What was acknowledged: a message, or a change, whose ``client_id`` is ``None``."""

    id: int
    content: str
    users: tuple[str, ...]
    channel: str
    sender: str
    client_id: str | None
    lived: float
    kind: str = "message"


class Held(NamedTuple):
    """A record as it lies in a file. ``target`` is that of a ``read``, of which the newest
    counts."""

    id: int
    content: str
    sender: str
    channel: str
    users: tuple[str, ...]
    kind: str
    target: str | None

    @property
    def is_message(self) -> bool:
        return self.kind == "message"


@dataclass
class Client:
    """A user who reads: ``seen`` holds what was handled, ``cursor`` where that ended.

    ``lost``: a log was put back that ends before the cursor. Only a new epoch can tell the
    two pasts apart, and only a store that has seen the other one makes a log begin it.
    ``forked``: the log has accepted something before that.
    ``logs_ago``: how often since then the log was replaced. One knows where it began, and
    not where one before it did: under a clock that went back between the two, that may
    have been below what had been given out before.
    """

    user: str
    cursor: str
    seen: set[str]
    lost: bool = False
    forked: bool = False
    logs_ago: int = 0


@dataclass
class Options:
    """What a run may do; each is drawn once, from its seed."""

    retention_ms: int
    recent_bytes: int
    batch: int
    look: bool


@dataclass
class Live:
    """A socket that stays open: what it was sent, and what it was told to fetch."""

    seen: set[str] = field(default_factory=set)
    gaps: list[tuple[int, int]] = field(default_factory=list)


def held(body: bytes) -> Held:
    record = json.loads(body)
    return Held(
        int(record["id"], 16),
        record["content"],
        record["sender"],
        record["channel"],
        tuple(record["channel"].split(",")),
        record["type"],
        record["target"] if record["type"] == "read" else None,
    )


def outdated(records: Iterable[Held]) -> set[str]:
    """The contents of those of a ``latest`` kind that a later one has replaced."""
    newest: dict[tuple[str, str], Held] = {}
    older: set[str] = set()
    for one in sorted(records):
        if one.target is not None:
            before = newest.get((one.channel, one.target))
            if before is not None:
                older.add(before.content)
            newest[one.channel, one.target] = one
    return older


def read_rows(path: Path, query: str) -> list[tuple[int, bytes]]:
    """Ids and bytes in a database that may be in use."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def read_store(path: Path) -> list[bytes]:
    """The bodies in a store that may be in use."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        ids = db.execute("SELECT id FROM messages UNION ALL SELECT id FROM changes").fetchall()
        return [one.body for one in entries_of(records_by_id(db, (row[0] for row in ids)))]
    finally:
        db.close()


def copy(path: Path, folder: Path, name: str) -> Path:
    """A consistent copy of a database that may be in use."""
    target = folder / f"{name}-{len(list(folder.glob(f'{name}-*')))}"
    source = sqlite3.connect(path)
    try:
        copied = sqlite3.connect(target)
        try:
            source.backup(copied)
        finally:
            copied.close()
    finally:
        source.close()
    return target
