"""``python store_load.py FOLDER MESSAGES``: measure the embedded store of the chatsvc on the path.

A program of its own, so that the chatsvc of another checkout can be measured by the same one. It
prints a JSON array of ``[scenario, what, unit, value]``. CPU time is that of the whole process.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Final

from chatsvc.core.ids import STEP, id_at
from chatsvc.core.message import draft_message
from chatsvc.core.page import Bounds
from chatsvc.core.participants import channel_key, normalize_participants
from chatsvc.core.record import Record, accept
from chatsvc.storage.sqlite.store import SqliteStore

CONTENT: Final = "The quick brown fox jumps over the lazy dog. " * 2
START: Final = id_at(1_795_000_000_000)
BATCH: Final = 500
PEOPLE: Final = (2, 4, 5, 16, 64, 250)
CONVERSATIONS: Final = (10, 1000, 18_000)
LARGE: Final = 20
READS: Final = 30

Audience = tuple[str, ...]
Figure = tuple[str, str, str, float]


class Records:
    """Messages whose ids ascend."""

    def __init__(self) -> None:
        self._ids = count(START, STEP)

    def message(self, people: Audience) -> Record:
        """One from the first of them."""
        draft = draft_message(
            channel=channel_key(people),
            participants=people,
            sender=people[0],
            content=CONTENT,
            origin="laptop",
        )
        return accept(draft, next(self._ids))

    def batches(self, audiences: Iterator[Audience], messages: int) -> Iterator[list[Record]]:
        """As the persister writes them."""
        for first in range(0, messages, BATCH):
            part = islice(audiences, min(BATCH, messages - first))
            yield [self.message(people) for people in part]


def sets(number: int, size: int, users: int, chance: random.Random) -> list[Audience]:
    """Sets of users; of all alike."""
    names = [f"user{n:05}" for n in range(max(users, size))]
    return [normalize_participants(chance.sample(names, size)) for _ in range(number)]


def endless(audiences: Sequence[Audience], chance: random.Random) -> Iterator[Audience]:
    """One of them, again and again."""
    while True:
        yield chance.choice(audiences)


async def written(store: SqliteStore, batches: Iterator[list[Record]]) -> float:
    """Write them; seconds of CPU."""
    seconds = 0.0
    for batch in batches:
        began = time.process_time()
        rejected = await store.write(batch)
        seconds += time.process_time() - began
        assert not rejected, rejected[0]
    return seconds


def file_bytes(path: Path) -> int:
    """Bytes of the pages in use."""
    db = sqlite3.connect(path)
    try:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    finally:
        db.close()
    return int((pages - free) * size)


async def writes(folder: Path, history: int) -> list[Figure]:
    """Write to sets of several sizes, in a store of its own each."""
    figures: list[Figure] = []
    where = "in which inboxes have a history" if history else "that is small"
    scenario = f"A message written in a batch of {BATCH}, to a store {where}"
    for size in PEOPLE:
        chance, records = random.Random(size), Records()
        path = folder / f"{size}-{history}.db"
        store = SqliteStore(path)
        await store.open()
        pairs = sets(history // 20, 2, history // 40, chance)
        await written(store, records.batches(endless(pairs, chance), history))
        audiences = sets(2000 if size < 64 else 500, size, history // 40 or 2000, chance)
        await written(store, records.batches(iter(audiences), len(audiences)))
        messages = BATCH * (10 if size < 64 else 2)
        before = file_bytes(path)
        cpu = await written(store, records.batches(endless(audiences, chance), messages))
        figures.append((scenario, f"{size} people", "µs", cpu / messages * 1e6))
        grown = (file_bytes(path) - before) / messages
        figures.append((f"{scenario}: the file", f"{size} people", "bytes", grown))
        await store.close()
        path.unlink()
    return figures


async def reads(folder: Path, messages: int) -> list[Figure]:
    """Read as users who have few and many conversations, a few of them of ten people."""
    chance, records = random.Random(1), Records()
    store = SqliteStore(folder / "reads.db")
    await store.open()
    audiences: list[Audience] = []
    for number in CONVERSATIONS:
        me = f"reader{number:05}"
        large = min(LARGE, number // 2)
        own = [normalize_participants((me, f"user{n:05}")) for n in range(number - large)]
        crowd = [f"user{n:05}" for n in range(9)]
        own += [normalize_participants((me, f"group{n}", *crowd)) for n in range(large)]
        every = [own[n % number] for n in range(max(messages // len(CONVERSATIONS), number))]
        audiences += every
    chance.shuffle(audiences)
    await written(store, records.batches(iter(audiences), len(audiences)))
    middle = START + len(audiences) // 2 * STEP
    figures: list[Figure] = []
    for number in CONVERSATIONS:
        scenario = f"A read of a user who has {number:,} conversations"
        for what, ms in await _reads_of(store, f"reader{number:05}", middle):
            figures.append((scenario, what, "ms", ms))
    await store.close()
    return figures


async def _reads_of(store: SqliteStore, me: str, middle: int) -> list[tuple[str, float]]:
    kinds: dict[str, Callable[[], Awaitable[object]]] = {
        "newest 100": lambda: store.user_page(me, Bounds(100)),
        "100 before the middle": lambda: store.user_page(me, Bounds(100, before=middle)),
        "resume 100": lambda: store.user_page(me, Bounds(100, after=middle, newest=False)),
        "count to 10,001": lambda: store.count_user(me, Bounds(10_001, newest=False)),
        "list 20": lambda: store.conversations(me, before=(1 << 63) - 1, limit=20),
    }
    found: list[tuple[str, float]] = []
    for what, read in kinds.items():
        await read()
        began = time.process_time()
        for _ in range(READS):
            await read()
        found.append((what, (time.process_time() - began) / READS * 1e3))
    return found


async def main() -> None:
    """Measure all, in a folder that is empty."""
    folder, messages = Path(sys.argv[1]), int(sys.argv[2])
    figures = await writes(folder, 0)
    figures += await writes(folder, messages)
    figures += await reads(folder, messages)
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main())
