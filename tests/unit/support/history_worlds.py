"""Logs and stores whose messages lie in the one, the other or both, and history over them."""

from __future__ import annotations

from chatsvc.core.ids import STEP
from chatsvc.core.page import Entry
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from testkit.memory_store import MemoryStore
from testkit.records import START, record, records


def ids(entries: list[Entry]) -> list[int]:
    return [entry.id for entry in entries]


def at(*numbers: int) -> list[int]:
    return [START + number * STEP for number in numbers]


class World:
    """A log's tail, a store, and history over both.

    Records 1 to ``evicted`` are in the store alone, those up to ``stored`` in both, and
    the rest, up to ``accepted``, in the tail alone.
    """

    def __init__(self, evicted: int, stored: int, accepted: int) -> None:
        everything = [self.make(n) for n in range(1, accepted + 1)]
        self.store = MemoryStore()
        self.store.records = {one.id: one for one in everything[:stored]}
        floor = everything[evicted - 1].id if evicted else 0
        self.tail = Tail(recent_bytes=1 << 30, watermark=floor, floor=floor)
        self.tail.extend(everything[evicted:])
        if stored:
            self.tail.advance(everything[stored - 1].id)
        self.history = History(self.store, self.tail)

    @staticmethod
    def make(number: int) -> Record:
        return record(number)

    @classmethod
    def of_large(cls, evicted: int, count: int, other: str = "bob") -> World:
        """Messages of which a page holds three."""

        class Large(cls):  # type: ignore[misc, valid-type]
            @staticmethod
            def make(number: int) -> Record:
                return record(number, "x" * 340_000, to=("alice", other.format(number)))

        return Large(evicted, evicted, count)


class Merged:
    """Of records 1 to 12 the log lacks ``lost``, and so did not know of them; the store lacks
    the others above ``stored``. The tail begins above ``evicted``."""

    def __init__(self, evicted: int, stored: int, lost: set[int], base: int) -> None:
        everything = [self.make(number) for number in range(1, 13)]
        self.store = MemoryStore()
        self.store.records = {
            one.id: one
            for number, one in enumerate(everything, 1)
            if number <= stored or number in lost
        }
        floor = START + evicted * STEP
        self.tail = Tail(
            recent_bytes=1 << 30, watermark=floor, floor=floor, base=START + base * STEP
        )
        kept = [n for n in range(evicted + 1, 13) if n not in lost]
        self.tail.extend([everything[number - 1] for number in kept])
        self.tail.advance(START + stored * STEP)
        self.history = History(self.store, self.tail)

    @staticmethod
    def make(number: int) -> Record:
        return record(number)


class Refilling:
    """Of records 1 to 12 the store has up to ``stored``, the tail what is above 8."""

    def __init__(self, stored: int) -> None:
        self.store = MemoryStore()
        self.store.records = {one.id: one for one in records(stored)}
        floor = START + 8 * STEP
        self.tail = Tail(
            recent_bytes=1 << 30, watermark=floor, floor=floor, stored=START + stored * STEP
        )
        self.tail.extend(records(4, first=9))
        self.history = History(self.store, self.tail)
