"""Reading rows: what is stored after a wait, and the tail on top of it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chatsvc.core.projection import (
    Column,
    Key,
    Max,
    Projection,
    Projections,
    Put,
    Remove,
    RowChange,
)
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.log.tail import Tail
from chatsvc.storage.ports.projections import StoredRows
from chatsvc.storage.projections import reader as reader_module
from chatsvc.storage.projections.folding import fold
from chatsvc.storage.projections.reader import RowReader, Rows
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, START, change
from testkit.waiting import until
from tests.unit.support.virtual_time import in_virtual_time, passed

CHANNEL = change(1).channel


def fold_text(record: Record) -> list[RowChange]:
    """Of ``+a1``, ``^a1`` and ``-a``: put, raise, remove."""
    found: list[RowChange] = []
    for word in json.loads(record.body)["text"].split():
        key: Key = tuple(word[1:])
        match word[0]:
            case "+":
                found.append(Put(key, {"by": record.sender}))
            case "^":
                found.append(Max(key, "high", record.id - START))
            case "-":
                found.append(Remove(key))
            case "!":
                raise ZeroDivisionError
    return found


ONE = Projection(
    name="one",
    version=1,
    kinds=("edit",),
    key=(Column("group", "text"), Column("item", "text")),
    columns=(Column("by", "text"), Column("high", "integer", maximum=True)),
    fold=fold_text,
)


class Setting:
    """A store that is filled by hand from a tail, and a reader of both."""

    def __init__(self) -> None:
        self.store = MemoryStore(kinds=KINDS, projections=Projections([ONE]))
        self.tail = Tail(recent_bytes=1 << 20)
        self.asked: list[str] = []
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.reader = RowReader(self.store.projections, self.tail, Projections([ONE]), self.ask)

    async def ask(self, user: str, call: Callable[[], Awaitable[StoredRows]]) -> StoredRows:
        self.asked.append(user)
        found = await call()
        if self.before_answer is not None:
            await self.before_answer()
        return found

    def accept(self, *texts: str) -> None:
        first = (self.tail.head - START) // 64 + 1 if self.tail.head else 1
        self.tail.extend([change(n, text=text) for n, text in enumerate(texts, first)])

    async def persist(self, up_to: int | None = None) -> None:
        bound = change(up_to).id if up_to is not None else self.tail.head
        batch = [
            one for one in self.tail.batch(self.tail.watermark, 9999, 1 << 30) if one.id <= bound
        ]
        assert await self.store.write(batch) == []
        self.store.mark = Mark(bound, 1, "e", None, "", 0)
        self.tail.advance(bound)

    async def page(self, *prefix: str, **options: Any) -> Rows:
        return await self.reader.page_overlaid(
            "one", prefix, reader="alice", channel=CHANNEL, **options
        )


@pytest.fixture
def at() -> Setting:
    return Setting()


def keys(rows: Rows) -> list[str]:
    return ["".join(map(str, row.key)) for row in rows.rows]


# --- without the tail


async def test_a_read_says_to_where_it_is_folded(at: Setting) -> None:
    at.accept("+a1 ^a1", "+a2", "+b1")
    await at.persist(1)
    found = await at.reader.get("one", ("a", "1"), reader="alice")
    assert (found.position, found.after) == (change(1).id, None)
    (row,) = found.rows
    assert (row.key, row.rev) == (("a", "1"), change(1).id)
    assert row.values == {"by": "alice", "high": 64}
    assert (await at.reader.page("one", ("a",), reader="bob")).rows == [row]
    assert at.asked == ["alice", "bob"]
    with pytest.raises(ValueError, match="key"):
        await at.reader.get("one", ("a",), reader="alice")


async def test_pages_go_on_where_the_last_ended(at: Setting) -> None:
    at.accept("+a1 +a2 +a3", "-a2")
    await at.persist()
    first = await at.reader.page("one", (), reader="alice", limit=1)
    assert (keys(first), first.after) == (["a1"], ("a", "1"))
    second = await at.reader.page("one", (), reader="alice", limit=2, after=first.after)
    assert (keys(second), second.after) == (["a3"], None)


@in_virtual_time
async def test_a_read_waits_until_its_projection_is_folded_far_enough() -> None:
    at = Setting()
    at.accept("+a1")
    as_of = at.tail.head
    waiting = asyncio.ensure_future(at.reader.get("one", ("a", "1"), reader="alice", as_of=as_of))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await at.persist()
    found = await waiting
    assert (len(found.rows), found.position, passed()) == (1, as_of, pytest.approx(0.5))


@in_virtual_time
async def test_after_a_second_it_says_to_where_it_is_folded() -> None:
    at = Setting()
    at.accept("+a1", "+a2")
    await at.persist(1)
    found = await at.reader.page("one", ("a",), reader="alice", as_of=at.tail.head)
    assert (keys(found), found.position, passed()) == (["a1"], change(1).id, pytest.approx(1))
    assert not await at.reader.wait_until("one", at.tail.head)
    assert not at.reader._waiting


@in_virtual_time
async def test_a_projection_that_is_built_is_waited_for_too() -> None:
    at = Setting()
    at.accept("+a1")
    await at.persist()
    await at.store.projections.begin_anew("one")
    waiting = asyncio.ensure_future(at.reader.wait_until("one", at.tail.head))
    await asyncio.sleep(0.2)
    await at.store.projections.catch_up("one", fold(ONE, [change(1, text="+a1")]), 0, at.tail.head)
    at.reader.moved()
    assert await waiting
    assert passed() == pytest.approx(0.2)


async def test_a_move_while_it_looks_is_not_missed(at: Setting) -> None:
    at.accept("+a1")
    await at.persist()
    await at.store.projections.begin_anew("one")
    position = at.store.projections.position
    left = [True]

    async def slow(name: str) -> int:
        found = await position(name)
        if left:
            left.clear()
            await at.store.projections.catch_up(
                "one", fold(ONE, [change(1, text="+a1")]), 0, at.tail.head
            )
            at.reader.moved()
        return found

    at.store.rows.position = slow  # type: ignore[method-assign]
    assert await at.reader.wait_until("one", at.tail.head, seconds=60)


async def test_a_store_that_lacks_something_is_not_relied_on(at: Setting) -> None:
    at.accept("+a1", "+a2")
    await at.persist()
    at.tail.set_store_positions(stored=change(1).id, base=0, hole=None)
    assert await at.reader.position("one") == change(1).id
    at.tail.confirmed = False
    assert await at.reader.position("one") == 0


# --- with it


async def test_what_is_not_stored_yet_is_on_top(at: Setting) -> None:
    at.accept("+a1 +a2 ^a3 +b1", "-a2")
    await at.persist(1)
    at.accept("+a4 -a1", "^a3", "^a2")
    found = await at.page("a")
    assert keys(found) == ["a2", "a3", "a4"]
    assert (found.position, found.after) == (at.tail.head, None)
    assert [row.rev for row in found.rows] == [change(n).id for n in (5, 4, 3)]
    assert [row.values["high"] for row in found.rows] == [5 * 64, 4 * 64, None]
    (row,) = (await at.reader.get_overlaid("one", ("a", "4"), reader="alice", channel=CHANNEL)).rows
    assert row == found.rows[2]


async def test_rows_that_are_folded_further_than_their_position_do_not_go_back(
    at: Setting,
) -> None:
    """The rows are read after the position: a batch may come in between."""
    at.accept("+a1", "-a1 +a2", "+a1", "-a2")
    await at.store.write(list(at.tail.batch(0, 9, 1 << 20)))
    at.tail.advance(change(1).id)
    assert (await at.reader.position("one")) == change(1).id
    found = await at.page("a")
    assert [(row.key, row.rev) for row in found.rows] == [(("a", "1"), change(3).id)]


@pytest.mark.parametrize("seed", range(30))
async def test_any_pages_together_are_the_rows_of_everything(at: Setting, seed: int) -> None:
    dice = random.Random(seed)
    words = [f"{sign}{group}{item}" for sign in "++^-" for group in "ab" for item in "1234"]
    words += ["-a"]
    at.accept(*(" ".join(dice.sample(words, 2)) for _ in range(20)))
    await at.persist(dice.randrange(1, 20))
    states = fold(ONE, at.tail.batch(0, 99, 1 << 20)).left({})
    expected = sorted(key for key, state in states.items() if state.rev and key[0] == "a")
    limit, after = dice.randrange(1, 5), None
    found: list[Key] = []
    while True:
        page = await at.page("a", limit=limit, after=after)
        assert page.position == at.tail.head
        assert len(page.rows) <= limit
        found += [row.key for row in page.rows]
        after = page.after
        if after is None:
            break
    assert found == expected


async def test_rows_are_read_again_where_the_tail_moved_on_meanwhile(at: Setting) -> None:
    at.accept("+a1", "+a2")
    await at.persist(1)

    async def move() -> None:
        at.before_answer = None
        await at.persist()
        at.tail.floor = at.tail.head

    at.before_answer = move
    found = await at.page("a")
    assert (keys(found), found.position, len(at.asked)) == (["a1", "a2"], change(2).id, 2)


async def test_below_the_tail_rows_are_as_they_are_stored(at: Setting) -> None:
    at.accept("+a1")
    await at.persist()
    at.tail.floor = at.tail.head
    await at.store.projections.begin_anew("one")
    at.accept("+a2")
    for found in (
        await at.page("a"),
        await at.reader.get_overlaid("one", ("a", "2"), reader="alice", channel=CHANNEL),
    ):
        assert (found.rows, found.position) == ([], 0), "it is being built, and says so"
    assert len(at.asked) == 2, "it is not read again for nothing"


async def test_a_bounded_number_of_records_is_folded(
    at: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "OVERLAID", 2)
    at.accept("+a1", "+a2", "+a3")
    found = await at.page("a")
    assert (keys(found), found.position) == (["a1", "a2"], change(2).id)


async def test_a_page_is_bounded(at: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_ROWS", 2)
    at.accept("+a1 +a2 +a3")
    assert keys(await at.page("a", limit=9)) == ["a1", "a2"]
    await at.persist()
    found = await at.reader.page("one", ("a",), reader="alice", limit=9)
    assert (keys(found), found.after) == (["a1", "a2"], ("a", "2"))


async def test_a_record_that_cannot_be_folded_changes_nothing(at: Setting) -> None:
    at.accept("+a1", "+a2 !x1", "+a3")
    assert keys(await at.page("a")) == ["a1", "a3"]


async def test_a_reader_that_goes_waits_no_more(at: Setting) -> None:
    at.accept("+a1")
    waiting = asyncio.ensure_future(at.reader.wait_until("one", at.tail.head))
    await until(lambda: bool(at.reader._waiting))
    waiting.cancel()
    await asyncio.wait({waiting})
    assert not at.reader._waiting
    at.reader.moved()
