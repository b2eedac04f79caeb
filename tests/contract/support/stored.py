"""What was written, compared with what a store answers."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record, pack
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START


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


def any_bounds(dice: random.Random, numbers: int) -> Bounds:
    """Any page, of records up to a number."""
    return Bounds(
        dice.choice((1, 2, 5, 20, 99)),
        dice.choice((0, START + dice.randrange(numbers) * STEP)),
        dice.choice((MAX_ID, START + dice.randrange(numbers) * STEP)),
        dice.random() < 0.5,
        dice.choice((0, 500, 2000, 1 << 20)),
    )


async def expect_same_pages(
    store: MessageStore, model: MessageStore, user: str, bounds: Bounds
) -> None:
    """A user's pages, counts and list of conversations are those of another store."""
    for name in ("user_page", "user_records", "count_user", "count_user_records"):
        answers = [await getattr(one, name)(user, bounds) for one in (store, model)]
        assert shown(answers[0]) == shown(answers[1]), (name, user, bounds)
    page = {"before": bounds.before, "limit": bounds.limit, "max_bytes": bounds.max_bytes}
    lists = [await one.conversations(user, **page) for one in (store, model)]
    assert [one[:3] for one in lists[0]] == [one[:3] for one in lists[1]], (user, page)


def shown(answer: int | Sequence[Entry]) -> Any:
    """What two stores must have in common."""
    if isinstance(answer, int):
        return answer
    return [(one.id, one.kind, one.channel, one.audience) for one in answer]
