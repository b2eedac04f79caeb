"""Projections: rows that are folded from records, as features declare them.

A row has a key, columns and a ``rev``, the id of the newest record that changed it. What a record
changes is said by a pure function, so that the same records give the same rows in whatever order
they come, however often, and in whatever batches. There are three changes:

* :class:`Put` sets the columns of one row. Of several, that of the newest record holds.
* :class:`Max` raises one column that is declared as a ``maximum``: it has the highest value that
  any record gave it, and never goes down.
* :class:`Remove` removes a row, or all whose keys begin alike, as they were before its record.
  What an older record puts there, whenever it comes, is removed with them; a newer one makes the
  row anew. It hides a maximum and does not lower it: a row that is made anew goes on from there.
  Of one record, what it puts and raises stands against what it removes itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

from chatsvc.core.record import Record

KeyValue = str | int
Key = tuple[KeyValue, ...]
"""The values of a row's key columns; of a prefix, those of the first of them."""
Value = str | int | bytes | bool | None

ColumnType = Literal["text", "integer", "bytes", "boolean"]
"""JSON is kept as ``bytes``. An integer has 64 bits, signed, so an id is one."""

MAX_COLUMNS: Final = 32
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_RESERVED: Final = frozenset({"rev", "put_rev"})
_TYPES: Final[dict[ColumnType, type]] = {
    "text": str,
    "integer": int,
    "bytes": bytes,
    "boolean": bool,
}
_MAX_INTEGER: Final = (1 << 63) - 1


class Put(NamedTuple):
    """Set the columns of the row with this key; those that are not given become ``None``."""

    key: Key
    values: Mapping[str, Value]


class Max(NamedTuple):
    """Raise a column, declared as a ``maximum``, of the row with this key."""

    key: Key
    column: str
    value: KeyValue


class Remove(NamedTuple):
    """Remove the row with this key, or every row whose key begins with it.

    All of them are removed at once: a prefix should have few.
    """

    prefix: Key


RowChange = Put | Max | Remove


class Row(NamedTuple):
    """A row as a reader gets it; ``values`` are its columns beside the key."""

    key: Key
    rev: int
    values: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a projection.

    Args:
        name: 1 to 32 of ``[a-z0-9_]``, a letter first.
        type: of its values; of a key, and of a maximum, ``text`` or ``integer``.
        maximum: whether it is set by :class:`Max` alone.
    """

    name: str
    type: ColumnType
    maximum: bool = False

    def takes(self, value: Value) -> bool:
        """Whether the column can have this value, ``None`` apart."""
        if type(value) is not _TYPES[self.type]:
            return False
        if isinstance(value, str):
            return _is_unicode(value)
        return not isinstance(value, int) or -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Rows folded from records.

    Args:
        name: 1 to 32 of ``[a-z0-9_]``, a letter first; it never changes.
        version: raise it with every change of what ``fold`` returns: the rows are built anew.
        kinds: names of the kinds that are folded.
        key: the columns by which a row is found; a prefix of them finds several.
        columns: the others.
        fold: what a record of one of the kinds changes. It goes by the record alone, and of that
            by what a store keeps: ``touches``, ``state`` and ``keys`` are empty here, and the
            body is the same as a JSON value. Of a kind that is ``latest`` only the newest record
            of a conversation and target may matter.
        indexes: columns by which queries written by hand find rows.

    Raises:
        ValueError: what must hold.
    """

    name: str
    version: int
    kinds: tuple[str, ...]
    key: tuple[Column, ...]
    columns: tuple[Column, ...] = ()
    fold: Callable[[Record], Iterable[RowChange]]
    indexes: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in (*self.key, *self.columns)]
        self._require(
            all(map(_NAME.fullmatch, (self.name, *names))),
            "a name must be 1 to 32 of a-z, 0-9 and _, a letter first",
        )
        self._require(self.version >= 1, "the version must be at least 1")
        self._require(bool(self.kinds), "it must fold a kind")
        self._require(bool(self.key), "it must have a key")
        self._require(len(names) <= MAX_COLUMNS, f"it must have at most {MAX_COLUMNS} columns")
        self._require(len(set(names)) == len(names), "no two columns may have one name")
        self._require(not _RESERVED & set(names), f"no column may be named {sorted(_RESERVED)}")
        self._require(not any(one.maximum for one in self.key), "a key must not be a maximum")
        ordered = [*self.key, *self.maxima]
        self._require(
            all(one.type in {"text", "integer"} for one in ordered),
            "a key and a maximum must be text or an integer",
        )
        indexed = {name for index in self.indexes for name in index}
        self._require(indexed <= {*names, "rev"}, "an index must be of its columns")

    @cached_property
    def puts(self) -> tuple[Column, ...]:
        """The columns that :class:`Put` sets."""
        return tuple(one for one in self.columns if not one.maximum)

    @cached_property
    def maxima(self) -> tuple[Column, ...]:
        """The columns that :class:`Max` raises."""
        return tuple(one for one in self.columns if one.maximum)

    @property
    def declared(self) -> str:
        """What rows are made by: where it differs, they are built anew."""
        columns = [(one.name, one.type, one.maximum) for one in (*self.key, *self.columns)]
        return repr((self.version, sorted(self.kinds), len(self.key), columns, self.indexes))

    def check_key(self, key: Key, *, whole: bool) -> None:
        """Check a key, or a prefix of at least one column.

        Raises:
            ValueError: it is none.
        """
        self._require(isinstance(key, tuple), "a key must be a tuple")
        self._require(len(key) == len(self.key) if whole else 0 < len(key) <= len(self.key), "key")
        for column, value in zip(self.key, key, strict=False):
            self._require(column.takes(value), "a value of a key must be of its column's type")

    def check(self, change: RowChange) -> None:
        """Check a change of its rows.

        Raises:
            ValueError: it is not one.
        """
        fit = isinstance(change, (Put, Max, Remove))
        self._require(fit, "a change must be a put, a maximum or a removal")
        match change:
            case Put(key, values):
                self.check_key(key, whole=True)
                for name, value in values.items():
                    column = self._put_columns.get(name)
                    fit = column is not None and (value is None or column.takes(value))
                    self._require(fit, "a put must be of its columns, each value of their type")
            case Max(key, name, value):
                self.check_key(key, whole=True)
                fit = any(one.name == name and one.takes(value) for one in self.maxima)
                self._require(fit, "a maximum must be of a column that is one, and of its type")
            case Remove(prefix):
                self.check_key(prefix, whole=False)

    @cached_property
    def _put_columns(self) -> dict[str, Column]:
        return {one.name: one for one in self.puts}

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(f"projection {self.name!r}: {what}")


class Projections:
    """The projections of a program, by name.

    Raises:
        ValueError: two have the same name.
    """

    def __init__(self, projections: Iterable[Projection] = ()) -> None:
        self._projections: dict[str, Projection] = {}
        for one in projections:
            if one.name in self._projections:
                raise ValueError(f"two projections have the name {one.name!r}")
            self._projections[one.name] = one

    def __getitem__(self, name: str) -> Projection:
        return self._projections[name]

    def __iter__(self) -> Iterator[Projection]:
        return iter(self._projections.values())

    def __bool__(self) -> bool:
        return bool(self._projections)

    @property
    def names(self) -> frozenset[str]:
        """The names of all of them."""
        return frozenset(self._projections)


NO_PROJECTIONS: Final = Projections()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
