"""Documents of records, and back: what is a field, and what only the JSON that was sent has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import msgspec
import pytest

from chatsvc.core.errors import VersionTooNew
from chatsvc.core.ids import MAX_ID, created_at, format_id, id_ms
from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.storage.bodies import DecodedRecord
from chatsvc.storage.mongo import documents
from chatsvc.storage.mongo.documents import (
    Encoded,
    encode,
    id_range,
    to_body,
    to_conversation,
    to_document,
    to_entry,
)
from chatsvc.storage.ports.messages import Rejection
from testkit.client_ids import uuid7_at
from testkit.records import record, with_body

TWO = ("alice", "bob")


def decoded(one: Record) -> DecodedRecord:
    return one, msgspec.json.decode(one.body)


def test_a_document_has_the_message_as_fields() -> None:
    one = record(1, "Hello", client_id="k", metadata={"n": 1})
    position = format_id(one.id)
    expected = {
        "_id": position,
        "v": 2,
        "rev": position,
        "channel": "alice,bob",
        "audience": ["alice", "bob"],
        "sender": "alice",
        "origin": "laptop",
        "content": "Hello",
        "created_at": datetime.fromtimestamp(id_ms(one.id) / 1000, UTC),
        "digest": one.digest,
        "client_id": "k",
        "metadata": {"n": 1},
    }
    document = to_document(*decoded(one))
    assert document == expected
    assert to_entry(document, {}) == Entry(
        one.id, one.id, "alice,bob", "alice", "laptop", TWO, to_body(document, TWO)
    )
    assert msgspec.json.decode(to_body(document, TWO)) == msgspec.json.decode(one.body)


@pytest.mark.parametrize("options", [{}, {"client_id": "k"}, {"metadata": {"a": 1}}])
def test_what_the_fields_express_is_kept_once(options: dict[str, Any]) -> None:
    one = record(1, **options)
    document = to_document(*decoded(one))
    assert "body" not in document
    assert options.items() <= document.items()
    assert msgspec.json.decode(to_body(document, TWO)) == msgspec.json.decode(one.body)


def test_a_revision_is_its_own() -> None:
    document = to_document(*decoded(record(1))) | {"rev": format_id(record(2).id)}
    entry = to_entry(document, {})
    assert (entry.id, entry.rev) == (record(1).id, record(2).id)


@pytest.mark.parametrize("ahead_ms", [0, 1])
def test_only_a_client_id_minted_ahead_says_when(ahead_ms: int) -> None:
    minted = id_ms(record(1).id) + AHEAD_MS + ahead_ms
    document = to_document(*decoded(record(1, client_id=uuid7_at(minted))))
    assert document.get("minted_ahead_ms") == (minted if ahead_ms else None)


@pytest.mark.parametrize(
    ("change", "has_content"),
    [
        ({"more": 1}, True),
        ({"type": "other"}, True),
        ({"id": format_id(1)}, True),
        ({"created_at": "yesterday"}, True),
        ({"created_at": created_at(record(1).id + (1 << 16))}, True),
        ({"channel": "elsewhere"}, True),
        ({"sender": "mallory"}, True),
        ({"content": {"rich": 1}}, False),
        ({"content": None}, False),
        ({"client_id": "other"}, True),
        ({"client_id": None}, True),
        ({"metadata": None}, True),
        ({"metadata": {"$a": 1}}, True),
    ],
)
def test_what_the_fields_do_not_express_is_kept_as_it_was_sent(
    change: dict[str, Any], has_content: bool
) -> None:
    plain = record(1)
    body = msgspec.json.encode(msgspec.json.decode(plain.body) | change)
    document = to_document(*decoded(with_body(plain, body)))
    assert document["body"] == body.decode()
    assert ("content" in document) == has_content
    assert to_body(document, TWO) == body


@pytest.mark.parametrize("member", ["type", "id", "created_at", "channel", "sender", "content"])
def test_a_member_that_was_not_sent_is_none_of_the_answer(member: str) -> None:
    plain = record(1)
    body = msgspec.json.decode(plain.body)
    del body[member]
    written = with_body(plain, msgspec.json.encode(body))
    document = to_document(*decoded(written))
    assert to_body(document, TWO) == written.body
    assert ("content" in document) == (member != "content")


def test_a_document_of_a_newer_program_is_no_document_of_others() -> None:
    document = to_document(*decoded(record(1)))
    with pytest.raises(VersionTooNew, match=r"has version 3; this program knows up to 2$") as found:
        to_entry(document | {"v": 3}, {})
    assert format_id(record(1).id) in str(found.value)


def test_a_conversation_is_read_from_its_document() -> None:
    message = to_document(*decoded(record(2)))
    found = to_conversation(
        {
            "_id": "alice,bob",
            "participants": ["alice", "bob"],
            "last_id": message["_id"],
            "last_message": message,
        }
    )
    assert found == ("alice,bob", ("alice", "bob"), record(2).id, to_body(message, TWO))


def test_a_document_of_just_the_bound_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    one = record(1)
    encoded = encode(*decoded(one))
    assert isinstance(encoded, Encoded)
    assert (encoded.record, encoded.about) == (one, None)
    size = len(encoded.document.raw)
    assert bson.decode(encoded.document.raw)["_id"] == format_id(one.id)
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", size)
    assert isinstance(encode(*decoded(one)), Encoded)
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", size - 1)
    reason = f"{size} bytes as a document; the bound is {size - 1}"
    assert encode(*decoded(one)) == Rejection(one, "too_large", reason)


@pytest.mark.parametrize(
    ("part", "error"), [(object(), "InvalidDocument"), ("\ud800", "UnicodeEncodeError")]
)
def test_what_bson_cannot_hold_is_unfit(part: object, error: str) -> None:
    one = record(1)
    body = msgspec.json.decode(one.body) | {"metadata": {"a": part}}
    rejection = encode(one, body)
    assert rejection == Rejection(one, "unfit", f"BSON cannot hold it: {error}")


@pytest.mark.parametrize(
    ("bounds", "after", "before"),
    [
        (Bounds(1, after=5, before=9), 5, 9),
        (Bounds(1, after=-1, before=-1), 0, 0),
        (Bounds(1, after=0, before=MAX_ID + 1), 0, MAX_ID),
        (Bounds(1), 0, MAX_ID),
    ],
)
def test_a_range_of_ids_excludes_both(bounds: Bounds, after: int, before: int) -> None:
    assert id_range(bounds) == {"$gt": format_id(after), "$lt": format_id(before)}


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
