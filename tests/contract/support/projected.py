"""Projections of the tests, records that change their rows, and what the rows should be."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from chatsvc.core.projection import (
    Column,
    Key,
    Max,
    Projection,
    Projections,
    Put,
    Remove,
    Row,
    RowChange,
)
from chatsvc.core.record import Record
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.projections.folding import fold
from chatsvc.storage.projections.row_state import RowState
from testkit.records import change

Op = list[Any]


def fold_ops(record: Record) -> Iterator[RowChange]:
    """The changes that the record's text lists."""
    for name, key, *rest in msgspec.json.decode(msgspec.json.decode(record.body)["text"]):
        match name:
            case "put":
                values = dict(rest[0])
                if "blob" in values:
                    values["blob"] = values["blob"].encode()
                yield Put(tuple(key), values)
            case "max":
                yield Max(tuple(key), *rest)
            case "remove":
                yield Remove(tuple(key))


def one_version(version: int = 1) -> Projection:
    """Rows with a column of each type."""
    return Projection(
        name="things",
        version=version,
        kinds=("edit",),
        key=(Column("group", "text"), Column("number", "integer")),
        columns=(
            Column("order", "text"),
            Column("blob", "bytes"),
            Column("flag", "boolean"),
            Column("count", "integer"),
            Column("high", "integer", maximum=True),
            Column("last", "text", maximum=True),
        ),
        indexes=(("order",), ("flag", "rev")),
        fold=fold_ops,
    )


THINGS: Final = one_version()
SENDERS: Final = Projection(
    name="senders",
    version=1,
    kinds=("message", "reaction"),
    key=(Column("sender", "text"),),
    columns=(Column("newest", "integer", maximum=True),),
    fold=lambda record: [Max((record.sender,), "newest", record.id)],
)
BOTH: Final = Projections([THINGS, SENDERS])


def edit(number: int, *ops: Op) -> Record:
    """The ``number``-th record, which changes rows of ``things``."""
    return change(number, text=msgspec.json.encode(ops).decode())


def expected(projection: Projection, records: Iterable[Record]) -> list[Row]:
    """The rows that records give, by one plain fold of all of them."""
    states = fold(projection, records).left({})
    return shown(projection, sorted(states.items()))


def shown(projection: Projection, rows: Iterable[tuple[Key, RowState]]) -> list[Row]:
    """Rows to be compared, hidden ones included."""
    names = [one.name for one in projection.columns]
    return [state.row(key, names) for key, state in rows]


async def rows_of(store: MessageStore, projection: Projection = THINGS) -> list[Row]:
    """Every row, hidden ones included."""
    found = await store.projections.page(projection.name, (), None, 10_000)
    return shown(projection, found.rows)


def any_op(dice: random.Random) -> Op:
    """One of few keys, so that changes meet."""
    key = [dice.choice(["a", "a\0", "b\1", "é"]), dice.choice([-5, 0, 7])]
    match dice.choice(["put", "put", "high", "last", "row", "prefix"]):
        case "put":
            values: dict[str, Any] = {"order": dice.choice(["x", "", "\0y"])}
            values |= {"count": dice.randrange(-9, 9), "flag": dice.random() < 0.5}
            return ["put", key, values | ({"blob": "b"} if dice.random() < 0.5 else {})]
        case "high":
            return ["max", key, "high", dice.randrange(-5, 100)]
        case "last":
            return ["max", key, "last", dice.choice(["", "m", "é", "\0"])]
        case "row":
            return ["remove", key]
    return ["remove", key[:1]]


def any_edit(number: int, dice: random.Random) -> Record:
    """A record with a few changes."""
    return edit(number, *(any_op(dice) for _ in range(dice.randrange(1, 4))))


def same_records(found: list[Record], wanted: list[Record]) -> None:
    """Whether a fold cannot tell them apart."""

    def visible(one: Record) -> tuple[Any, ...]:
        body = msgspec.json.decode(one.body)
        envelope = one.id, one.kind, one.channel, one.audience, one.sender, one.origin
        return *envelope, one.client_id, one.digest, one.target, body

    assert list(map(visible, found)) == list(map(visible, wanted))
