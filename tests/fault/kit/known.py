"""What a recording tells, put together: messages, listeners, pages read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_ID = 1 << 64


class Key(NamedTuple):
    """What a message is known by before it has an id."""

    sender: str
    client_id: str


@dataclass(slots=True)
class Message:
    """All that is known of one message."""

    key: Key
    channel: str
    content: str
    device: str = ""
    first_invoked: int | None = None
    refused: bool = False  # every attempt failed for certain
    open_attempts: int = 0
    id: int | None = None
    known_at: int = 0  # when somebody first knew that it was accepted
    known_line: int = 0
    acked: bool = False


@dataclass(slots=True)
class Listener:
    """What one listener was given, over all its connections."""

    name: str
    user: str
    device: str = ""
    echo: bool = False
    start: int | None = None
    position: int = 0
    received: set[int] = field(default_factory=set)
    gaps: list[tuple[int, int]] = field(default_factory=list)  # (from, to]
    fetched: list[tuple[int, int, set[int]]] = field(default_factory=list)
    settled: int | None = None


@dataclass(slots=True)
class Read:
    """A page that was answered."""

    line: int
    began: int
    user: str
    channel: str | None
    low: int  # exclusive
    high: int  # exclusive
    ids: set[int]


@dataclass(slots=True)
class Known:
    """All that a recording tells."""

    messages: dict[Key, Message] = field(default_factory=dict)
    by_id: dict[int, Message] = field(default_factory=dict)
    listeners: dict[str, Listener] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    histories: list[Read] = field(default_factory=list)

    def accepted(self) -> tuple[dict[str, list[Message]], dict[str, list[Message]]]:
        """Accepted messages by channel and by user, ascending by id."""
        by_channel: dict[str, list[Message]] = defaultdict(list)
        by_user: dict[str, list[Message]] = defaultdict(list)
        for message_id in sorted(self.by_id):
            message = self.by_id[message_id]
            by_channel[message.channel].append(message)
            for user in message.channel.split(","):
                by_user[user].append(message)
        return by_channel, by_user


def may_get(listener: Listener, message: Message) -> bool:
    """Nobody gets their own, unless they asked for an echo: a replay leaves out nothing."""
    return message.key.sender != listener.user or listener.echo


def must_get(listener: Listener, message: Message) -> bool:
    """With an echo, live too, what another of their devices sent."""
    if message.key.sender != listener.user:
        return True
    return listener.echo and message.device != listener.device


def id_of(message: Message) -> int:
    """For sorting."""
    return -1 if message.id is None else message.id
