"""A page is read from a cursor batch by batch, and the cursor is closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.pages import read_page

NO_BOUND = 1 << 40


class Cursor:
    """Answers from ``count`` documents, ``{"n": 0}`` and so on; notes what it is asked."""

    def __init__(self, count: int, fault: Exception | None = None, *, step: int = 1) -> None:
        self._left = [{"n": number * step} for number in range(count)]
        self._fault = fault
        self.asked: list[tuple[str, int]] = []

    def limit(self, count: int) -> Cursor:
        self.asked.append(("limit", count))
        del self._left[count:]
        return self

    def batch_size(self, count: int) -> Cursor:
        self.asked.append(("batch_size", count))
        return self

    async def to_list(self, count: int) -> list[Document]:
        self.asked.append(("to_list", count))
        if self._fault is not None:
            raise self._fault
        batch, self._left = self._left[:count], self._left[count:]
        return batch

    async def close(self) -> None:
        self.asked.append(("close", 0))


async def page(cursor: Cursor, limit: int, max_bytes: int = NO_BOUND) -> list[int]:
    def odd_ones_are_foreign(document: Document) -> Any:
        return document["n"] if document["n"] % 2 == 0 else None

    def ten_bytes(number: int) -> int:
        return 10 + 0 * number

    return await read_page(
        cursor, odd_ones_are_foreign, ten_bytes, limit=limit, max_bytes=max_bytes
    )


async def test_a_page_within_a_batch_is_one_question() -> None:
    cursor = Cursor(100)
    assert await page(cursor, 5) == [0, 2, 4]
    assert cursor.asked == [("limit", 5), ("batch_size", 5), ("to_list", 5), ("close", 0)]


@pytest.mark.parametrize(("count", "questions"), [(99, 1), (100, 2), (150, 2), (200, 3)])
async def test_batches_are_asked_for_until_one_is_short(count: int, questions: int) -> None:
    cursor = Cursor(count)
    assert await page(cursor, 1000) == list(range(0, count, 2))
    assert cursor.asked == [
        ("limit", 1000),
        ("batch_size", 100),
        *[("to_list", 100)] * questions,
        ("close", 0),
    ]


@pytest.mark.parametrize(("max_bytes", "found"), [(0, 2), (9, 2), (20, 3), (29, 3), (30, 4)])
async def test_a_page_ends_with_what_exceeds_its_bytes(max_bytes: int, found: int) -> None:
    cursor = Cursor(300)
    assert await page(cursor, 100, max_bytes) == list(range(0, 2 * found, 2))
    assert cursor.asked[-2:] == [("to_list", 100), ("close", 0)]


async def test_the_last_batch_is_no_larger_than_what_is_wanted() -> None:
    cursor = Cursor(1000)
    assert len(await page(cursor, 130)) == 65
    assert [count for name, count in cursor.asked if name == "to_list"] == [100, 80]


async def test_a_cursor_that_fails_is_closed() -> None:
    cursor = Cursor(1, RuntimeError("gone"))
    with pytest.raises(RuntimeError, match="gone"):
        await page(cursor, 5)
    assert cursor.asked[-1] == ("close", 0)


async def test_a_page_that_is_full_asks_no_more() -> None:
    cursor = Cursor(500, step=2)
    assert await page(cursor, 200) == list(range(0, 400, 2))
    assert [count for name, count in cursor.asked if name == "to_list"] == [100, 100]


async def test_each_batch_is_prepared_before_it_is_converted() -> None:
    prepared: list[int] = []

    async def prepare(documents: Sequence[Document]) -> None:
        prepared.extend(document["n"] for document in documents)

    def convert(document: Document) -> int:
        assert document["n"] in prepared
        return int(document["n"])

    found = await read_page(
        Cursor(150), convert, lambda _: 1, limit=120, max_bytes=NO_BOUND, prepare=prepare
    )
    assert found == prepared == list(range(120))
