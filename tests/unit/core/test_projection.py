"""Declarations of projections: what is refused, and what makes rows begin anew."""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc.core.projection import Column, Max, Projection, Projections, Put, Remove

KEY = (Column("user", "text"), Column("number", "integer"))


def make(**options: Any) -> Projection:
    usual: dict[str, Any] = {"name": "one", "version": 1, "kinds": ("edit",), "key": KEY}
    return Projection(**(usual | {"fold": lambda record: []} | options))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "One"},
        {"name": "1"},
        {"name": "x" * 33},
        {"version": 0},
        {"kinds": ()},
        {"key": ()},
        {"key": (Column("flag", "boolean"),)},
        {"key": (Column("user", "text", maximum=True),)},
        {"columns": (Column("user", "text"),)},
        {"columns": (Column("rev", "integer"),)},
        {"columns": (Column("put_rev", "integer"),)},
        {"columns": (Column("bytes", "bytes", maximum=True),)},
        {"columns": tuple(Column(f"c{n}", "text") for n in range(31))},
        {"indexes": (("other",),)},
    ],
)
def test_a_declaration_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="projection"):
        make(**options)


def test_a_declaration_may_have_32_columns_and_be_indexed_by_rev() -> None:
    columns = tuple(Column(f"c{n}", "text") for n in range(30))
    assert len(make(columns=columns, indexes=(("c1", "rev"),)).columns) == 30


def test_rows_begin_anew_with_another_version_or_other_columns() -> None:
    columns = (Column("x", "text"), Column("m", "integer", maximum=True))
    first = make(columns=columns)
    assert first.declared == make(columns=columns, fold=lambda record: [1]).declared
    assert [one.name for one in first.puts] == ["x"]
    assert [one.name for one in first.maxima] == ["m"]
    others = [make(columns=columns, version=2), make(), make(columns=columns, kinds=("message",))]
    assert first.declared not in {one.declared for one in others}


def test_two_projections_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two projections"):
        Projections([make(), make()])
    assert Projections([make()]).names == {"one"}
    assert not Projections()


@pytest.mark.parametrize(
    ("type_", "fit", "unfit"),
    [
        ("text", ["", "\0", "é"], [1, b"", True, "\ud800"]),
        ("integer", [0, -(1 << 63), (1 << 63) - 1], [1 << 63, -(1 << 63) - 1, True, "1", 1.0]),
        ("bytes", [b"", b"\0"], ["", 1]),
        ("boolean", [True, False], [0, 1, "true"]),
    ],
)
def test_a_value_must_be_of_the_type_of_its_column(
    type_: Any, fit: list[Any], unfit: list[Any]
) -> None:
    one = make(columns=(Column("x", type_),))
    for value in [*fit, None]:
        one.check(Put(("alice", 1), {"x": value}))
    for value in unfit:
        with pytest.raises(ValueError, match="type"):
            one.check(Put(("alice", 1), {"x": value}))


def test_a_maximum_is_raised_alone() -> None:
    one = make(columns=(Column("x", "integer"), Column("m", "integer", maximum=True)))
    one.check(Max(("alice", 1), "m", 1))
    one.check(Remove(("alice",)))
    for change in (
        Max(("alice", 1), "x", 1),
        Put(("alice", 1), {"m": 1}),
        Put(("alice",), {}),
        Remove(()),
    ):
        with pytest.raises(ValueError, match="projection"):
            one.check(change)
