"""The persisted form 1, which is read for ever, and what programs that know only it do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.ids import MAX_ID, id_at
from chatsvc.core.record import Record, accept, moved, pack, pack_draft, unpack
from testkit import record_form_1
from testkit.records import draft, record

TEXT = st.text(max_size=20)
RECORDS = st.builds(
    Record,
    id=st.integers(0, MAX_ID),
    kind=TEXT,
    channel=TEXT,
    audience=st.lists(TEXT, max_size=4).map(tuple),
    sender=TEXT,
    origin=TEXT,
    client_id=st.none() | TEXT,
    digest=st.binary(max_size=16),
    body=st.binary(max_size=100),
)
RECORD = Record(
    id=id_at(5),
    kind="message",
    channel="a,b",
    audience=("a", "b"),
    sender="a",
    origin="phone",
    client_id="c",
    digest=b"d" * 16,
    body=b'{"type":"message"}',
)


@given(RECORDS)
def test_what_was_written_is_read_as_it_was(one: Record) -> None:
    assert unpack(one.id, record_form_1.pack(one)) == one


def test_the_form_is_as_it_was_first_written() -> None:
    data = msgspec.msgpack.encode(
        [1, "message", "a,b", ["a", "b"], "a", "phone", "c", b"d" * 16, b'{"type":"message"}']
    )
    assert record_form_1.pack(RECORD) == data
    assert unpack(RECORD.id, data) == RECORD


def test_a_kind_that_is_not_known_is_read_all_the_same() -> None:
    edit = msgspec.structs.replace(RECORD, kind="edit")
    assert unpack(1, record_form_1.pack(edit)).kind == "edit"


def test_a_truncated_record_is_damage_at_every_byte() -> None:
    data = record_form_1.pack(RECORD)
    for end in range(len(data)):
        with pytest.raises(LogDamaged):
            unpack(1, data[:end])


@pytest.mark.parametrize("metadata", [None, {"a": 1}])
@pytest.mark.parametrize("people", [2, 250])
def test_a_record_that_is_written_again_keeps_its_body(
    people: int, metadata: dict[str, Any] | None
) -> None:
    to = [f"user{number:03}" for number in range(people)]
    new = record(1, "x", to=to, client_id="k", metadata=metadata)
    old = record_form_1.as_before(new)
    assert old.body != new.body
    assert msgspec.json.decode(old.body) == msgspec.json.decode(new.body)
    read = unpack(old.id, record_form_1.pack(old))
    assert read == old
    placed = moved(read, old.id + 64)
    for one in (read, placed):
        assert msgspec.msgpack.decode(pack(one))[0] == 2
        assert unpack(one.id, pack(one)) == one


@pytest.mark.parametrize("people", [2, 250])
def test_a_program_that_knows_only_form_1_refuses_form_2(people: int) -> None:
    one = draft("x", to=[f"user{number:03}" for number in range(people)])
    for data in (pack_draft(one), pack(record_form_1.as_before(accept(one, 64)))):
        with pytest.raises(VersionTooNew, match="record 0000000000000040 has version 2"):
            record_form_1.unpack(64, data)
