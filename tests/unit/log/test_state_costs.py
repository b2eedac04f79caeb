"""Whether keys that are touched, and what a change is about, count for the memory they take."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest

from chatsvc.core.change import draft_change
from chatsvc.core.ids import STEP
from chatsvc.core.kinds import Kind
from chatsvc.core.participants import channel_key, normalize_participants
from chatsvc.core.record import Draft, accept, pack_draft
from chatsvc.log.guards import Touches
from chatsvc.log.tail import Tail
from testkit.records import START

EDIT = Kind(name="edit")
COUNT = 300

Names = Callable[[int], tuple[tuple[str, ...], str]]
"""What the change of this number touches, and what it is about."""

FORMS: dict[str, Names] = {
    "a short key": lambda n: ((f"m/alice,bob/u{n}",), ""),
    "short keys": lambda n: (tuple(f"m/alice,bob/u{n}.{at}" for at in range(10)), ""),
    "long keys": lambda n: (tuple("m/" + "x" * 250 + f"{n}.{at}" for at in range(10)), ""),
    "keys of wide characters": lambda n: (
        tuple("m/" + "\U0001f600" * 120 + f"{n}.{at}" for at in range(10)),
        "",
    ),
    "a target": lambda n: ((), f"{n:016x}"),
    "a target of wide characters": lambda n: ((), "\U0001f600" * 1000 + str(n)),
    "a target of Chinese": lambda n: ((), "日" * 1000 + str(n)),
    "keys and a target": lambda n: (tuple(f"s/{n}.{at}" for at in range(3)), f"{n:016x}"),
}


def changes(names: Names) -> list[Draft]:
    people = normalize_participants(["alice", "bob"])
    plain = draft_change(
        EDIT, channel=channel_key(people), audience=people, sender="alice", fields={}
    )
    made = []
    for number in range(COUNT):
        touches, target = names(number)
        made.append(msgspec.structs.replace(plain, touches=touches, target=target))
    return made


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_costs_are_the_memory_that_is_taken(form: str, written: bool) -> None:
    tail, touches = Tail(recent_bytes=0), Touches(0, max_keys=0)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number, draft in enumerate(changes(FORMS[form])):
            if written:
                pack_draft(draft)
            record = accept(draft, START + number * STEP)
            tail.extend([record])
            touches.add(record)
        del draft
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Less where these have no client id or device, or no UTF-8 beside a text: it was not written.
    assert 0.4 < taken / tail.unsaved_bytes < 1.25
