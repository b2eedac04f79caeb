"""Where the next records come from: the tail, the log's file, the store."""

from __future__ import annotations

from chatsvc.core.ids import STEP
from chatsvc.log.tail import Tail
from chatsvc.storage.consumer.feed import LogFeed
from testkit.memory_store import MemoryStore
from testkit.records import record, records
from tests.unit.support.noted_log import NotedLog


def numbers(found: object) -> list[int]:
    return [(one.id - record(0).id) // STEP for one in found]  # type: ignore[attr-defined]


def setting(
    position: int, *, in_file: range, floor: int, head: int = 20
) -> tuple[LogFeed, NotedLog, MemoryStore]:
    log, store = NotedLog(), MemoryStore()
    every = records(head)
    store.records = {one.id: one for one in every[: floor + 2]}
    log.records = [every[n - 1] for n in in_file]
    log.tail = Tail(recent_bytes=1 << 20, watermark=every[floor - 1].id, floor=every[floor - 1].id)
    log.tail.extend(every[floor:])
    return LogFeed(log, store, record(position).id, batch=4), log, store


async def read_all(feed: LogFeed) -> list[list[int]]:
    found: list[list[int]] = []
    while feed.has_work():
        batch = await feed.next()
        found.append(numbers(batch))
        if batch:
            feed.advance(batch[-1].id)
    return found


async def test_above_the_floor_the_tail_is_enough() -> None:
    feed, log, store = setting(10, in_file=range(5, 21), floor=10)
    assert feed.is_full()
    assert await read_all(feed) == [[11, 12, 13, 14], [15, 16, 17, 18], [19, 20]]
    assert (log.reads, store.reads) == ([], 0)
    assert not feed.is_full()


async def test_below_it_the_file_is_read_as_long_as_it_has_what_is_older() -> None:
    feed, _, store = setting(6, in_file=range(5, 21), floor=10)
    assert await read_all(feed) == [
        [7, 8, 9, 10], [11, 12, 13, 14], [15, 16, 17, 18], [19, 20],
    ]  # fmt: skip
    assert store.reads == 0


async def test_below_the_file_the_store_is_read() -> None:
    feed, _, _ = setting(2, in_file=range(9, 21), floor=10)
    assert await read_all(feed) == [
        [3, 4, 5, 6], [7, 8], [9, 10], [11, 12, 13, 14], [15, 16, 17, 18], [19, 20],
    ]  # fmt: skip


async def test_a_file_that_has_nothing_below_the_tail() -> None:
    feed, _, _ = setting(7, in_file=range(11, 21), floor=10)
    assert (await read_all(feed))[:2] == [[8, 9, 10], [11, 12, 13, 14]]


async def test_ids_that_were_given_to_nothing_are_passed() -> None:
    feed, log, _ = setting(20, in_file=range(9, 21), floor=10)
    assert not feed.has_work()
    log.tail.head = record(30).id
    assert feed.has_work()
    assert await feed.next() == []
    assert not feed.has_work()
    feed.advance(record(1).id)
    assert feed.position == record(30).id, "it never goes back"


async def test_what_leaves_memory_while_the_file_is_read_is_not_passed() -> None:
    feed, log, _ = setting(9, in_file=range(9, 21), floor=10)
    log.records = [one for one in log.records if one.id != record(10).id]  # taken out
    read = log.read

    async def slow(*arguments: int) -> object:
        found = await read(*arguments)
        log.tail.floor = record(12).id
        return found

    log.read = slow  # type: ignore[assignment, method-assign]
    assert numbers(await feed.next())[0] == 11
