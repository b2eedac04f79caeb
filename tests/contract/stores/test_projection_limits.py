"""Projections whose names, keys and folds are at the limits of what may be declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from chatsvc.core.projection import Column, Max, Projection, Projections, Put, Remove, RowChange
from chatsvc.core.record import Record
from tests.contract.support.projected import BOTH, edit, rows_of
from tests.contract.support.store_places import Open

Fold = Callable[[Record], Iterable[RowChange]]


def put_sender(found: Record) -> list[RowChange]:
    return [Put((found.sender,), {})]


def declared(name: str, fold: Fold = put_sender, **options: Any) -> Projection:
    key = (Column("sender", "text"),)
    return Projection(name=name, version=1, kinds=("edit",), key=key, fold=fold, **options)


@pytest.mark.parametrize("names", [["removals"], ["removal_rev"], ["a", "a_0"], ["a_0", "a"]])
async def test_no_name_is_in_the_way_of_another(open_with: Open, names: list[str]) -> None:
    """Neither those of tables nor those of indexes."""
    projections = [declared(name, indexes=(("sender",),)) for name in names]
    store = await open_with(Projections(projections))
    assert await store.write([edit(1)]) == []
    for name in names:
        found = await store.projections.page(name, (), None, 9)
        assert [key for key, _ in found.rows] == [("alice",)]


async def test_indexes_of_several_columns_are_told_apart(open_with: Open) -> None:
    columns = tuple(Column(name, "text") for name in ("a", "b", "a_b"))
    one = declared("one", columns=columns, indexes=(("a", "b"), ("a_b",)))
    store = await open_with(Projections([one]))
    assert await store.write([edit(1)]) == []


@pytest.mark.parametrize(
    "wrong",
    [None, ("alice",), Put(["alice"], {}), Max(["alice"], "high", 1), Remove(["alice"])],  # type: ignore[arg-type]
)
async def test_what_is_no_change_of_a_row_is_rejected(open_with: Open, wrong: Any) -> None:
    high = Column("high", "integer", maximum=True)
    store = await open_with(Projections([declared("one", lambda _: [wrong], columns=(high,))]))
    (rejected,) = await store.write([edit(1)])
    assert rejected.code == "fold_failed"


async def test_a_key_may_begin_with_the_highest_character(open_with: Open) -> None:
    store = await open_with(BOTH)
    assert await store.write([edit(1, ["put", ["\U0010ffff", 1], {}])]) == []
    assert [row.key[0] for row in await rows_of(store)] == ["\U0010ffff"]
