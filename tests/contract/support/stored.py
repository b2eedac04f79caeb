"""What was written, compared with what a store answers."""

from __future__ import annotations

import json

from chatsvc.core.page import Entry
from chatsvc.core.record import Record, pack
from chatsvc.storage.ports.dead_letters import DeadLetter


def value(body: bytes) -> str:
    """JSON as a value: order of members apart, integers and floats told apart."""
    return json.dumps(json.loads(body), sort_keys=True)


def ids(entries: list[Entry]) -> list[int]:
    return [entry.id for entry in entries]


def letter(one: Record) -> DeadLetter:
    return DeadLetter(one.id, "code", "reason", 1, pack(one))


def expect(found: list[Entry], written: list[Record]) -> None:
    assert ids(found) == [one.id for one in written]
    for entry, one in zip(found, written, strict=True):
        assert entry.rev == one.id
        assert (entry.channel, entry.sender, entry.origin, entry.audience) == (
            one.channel,
            one.sender,
            one.origin,
            one.audience,
        )
        assert value(entry.body) == value(one.body)
