"""Documents of changes, and what is left out of those of large sets."""

from __future__ import annotations

import msgspec
import pytest

from chatsvc.core.errors import VersionTooNew
from chatsvc.core.ids import format_id
from chatsvc.core.page import Entry
from chatsvc.storage.mongo.changes import change_entry, encode_change, to_change
from chatsvc.storage.mongo.documents import Encoded, body_fields, people_of, to_document, to_entry
from testkit.records import change, record, with_body

MANY = tuple(f"user{n}" for n in range(5))
FEW = MANY[:4]


@pytest.mark.parametrize("people", [MANY, FEW])
def test_a_change_is_read_as_it_was_written(people: tuple[str, ...]) -> None:
    one = change(1, to=people, target="t", client_id="k")
    document = to_change(one, latest=False)
    assert document["_id"] == document["id"] == format_id(one.id)
    assert document["client_id"] == "k"
    assert ("audience" in document) == (people == FEW)
    assert change_entry(document, {one.channel: people}) == Entry(
        one.id, one.id, one.channel, one.sender, one.origin, people, one.body, "edit"
    )


def test_of_a_latest_kind_a_document_is_about_something() -> None:
    one = change(1, "read", target='a"b,c')
    encoded = encode_change(one, latest=True)
    assert isinstance(encoded, Encoded)
    assert encoded.about == '["alice,bob","read","a\\"b,c"]'
    assert encoded.document["_id"] == encoded.about
    plain = encode_change(one, latest=False)
    assert isinstance(plain, Encoded)
    assert plain.about is None
    assert "client_id" not in plain.document


def test_a_change_of_a_newer_program_is_no_document_of_others() -> None:
    document = to_change(change(1), latest=False) | {"v": 2}
    with pytest.raises(VersionTooNew, match=r"has version 2; this program knows up to 1$"):
        change_entry(document, {})


def test_what_lost_its_conversation_is_no_entry() -> None:
    message = record(1, to=MANY)
    body = msgspec.json.decode(message.body)
    for document, entry in (
        (to_change(change(1, to=MANY), latest=False), change_entry),
        (to_document(message, body), to_entry),
    ):
        assert people_of(document, {}) is None
        assert entry(document, {}) is None
        assert entry(document, {message.channel: MANY}) is not None


LISTED = b',"participants":["user0","user1","user2","user3","user4"]'


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"a":1' + LISTED + b"}", {"body": '{"a":1}', "participants_at": 6}),
        ('{"ü":1'.encode() + LISTED + b"}", {"body": '{"ü":1}', "participants_at": 7}),
        (
            b'{"a":1' + LISTED + b',"m":{"b":2' + LISTED + b"}}",
            {"body": '{"a":1,"m":{"b":2' + LISTED.decode() + "}}", "participants_at": 6},
        ),
        (b'{"a":1}', {"body": '{"a":1}'}),
        (b'{"participants": ["user0"]}', {"body": '{"participants": ["user0"]}'}),
    ],
)
def test_the_people_of_a_large_set_are_cut_out_of_a_body(body: bytes, kept: object) -> None:
    large = with_body(change(1, to=MANY), body)
    assert body_fields(large) == kept
    found = change_entry(to_change(large, latest=False), {large.channel: MANY})
    assert found is not None
    assert found.body == body
    few = b'{"a":1,"participants":["user0","user1","user2","user3"]}'
    assert body_fields(with_body(change(1, to=FEW), few)) == {"body": few.decode()}


def test_a_document_of_version_1_names_its_own_people() -> None:
    one = record(1, to=MANY)
    document = to_document(one, msgspec.json.decode(one.body)) | {
        "v": 1,
        "participants": list(MANY),
        "audience": list(MANY[:3]),
    }
    found = to_entry(document, {one.channel: ("others",)})
    assert found is not None
    assert found.audience == MANY[:3]
    assert msgspec.json.decode(found.body)["participants"] == list(MANY)
