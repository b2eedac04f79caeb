"""Which metadata a document carries as it is, and which only as the JSON that was sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chatsvc.storage.mongo.documents import to_document
from testkit.records import record


def is_carried(metadata: dict[str, Any]) -> bool:
    one = record(1, metadata=metadata)
    document = to_document(one, msgspec.json.decode(one.body))
    assert ("metadata" in document) != ("body" in document)
    return "metadata" in document


def nested(levels: int, *, lists: bool) -> dict[str, Any]:
    """So many levels of objects, or of lists in one object."""
    value: Any = 0
    for _ in range(levels - 1):
        value = [value] if lists else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("name", ["", "$set", "a.b", ".", "a\0b"])
def test_names_that_are_mongodbs_own_are_not_carried(name: str) -> None:
    assert is_carried({"a": {"b$": [{"c": 1}]}})
    assert not is_carried({name: 1})
    assert not is_carried({"a": {name: 1}})
    assert not is_carried({"a": [1, {"b": {name: 1}}]})


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (2**63 - 1, True),
        (2**63, False),
        (-(2**63), True),
        (-(2**63) - 1, False),
        (-1, True),
        (1.5e300, True),
    ],
)
def test_integers_of_more_than_64_bits_are_not_carried(value: float, carried: bool) -> None:
    assert is_carried({"a": value}) is carried
    assert is_carried({"a": [value]}) is carried


@pytest.mark.parametrize("lists", [False, True])
def test_what_is_nested_deeper_than_mongodb_may_is_not_carried(lists: bool) -> None:
    assert is_carried(nested(59, lists=lists))
    assert not is_carried(nested(60, lists=lists))
