"""What the model keeps: messages that were sent and held, readers, and what a run may do."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

CONVERSATIONS = (("alice", "bob"), ("alice", "carol"), ("alice", "bob", "carol"))
USERS = ("alice", "bob", "carol")
HOUR_MS = 3_600_000
WINDOW_MS = 600_000


class Sent(NamedTuple):
    """What was acknowledged."""

    id: int
    content: str
    users: tuple[str, ...]
    channel: str
    sender: str
    client_id: str | None
    lived: float


class Held(NamedTuple):
    """A message as it lies in a file."""

    id: int
    content: str
    sender: str
    channel: str
    users: tuple[str, ...]


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
    message = json.loads(body)
    return Held(
        int(message["id"], 16),
        message["content"],
        message["sender"],
        message["channel"],
        tuple(message["participants"]),
    )


def read_rows(path: Path, query: str) -> list[tuple[int, bytes]]:
    """Ids and bytes in a database that may be in use."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
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
