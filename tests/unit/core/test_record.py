"""The persisted form: there and back, versions, and what a checksum covers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.ids import MAX_ID, id_at
from chatsvc.core.record import (
    RECORD_VERSION,
    Record,
    checksum,
    compose_body,
    pack,
    unpack,
)

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


def fields_of(record: Record) -> list[Any]:
    return [
        RECORD_VERSION,
        record.kind,
        record.channel,
        record.audience,
        record.sender,
        record.origin,
        record.client_id,
        record.digest,
        record.body,
    ]


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
def test_there_and_back(record: Record) -> None:
    assert unpack(record.id, pack(record)) == record


def test_the_packed_form_is_version_1_as_it_was_first_written() -> None:
    assert msgspec.msgpack.decode(pack(RECORD)) == [
        1, "message", "a,b", ["a", "b"], "a", "phone", "c", b"d" * 16, b'{"type":"message"}',
    ]  # fmt: skip


def test_a_kind_that_is_not_known_is_read_all_the_same() -> None:
    fields = fields_of(RECORD)
    fields[1] = "edit"
    assert unpack(1, msgspec.msgpack.encode(fields)).kind == "edit"


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields,
        lambda fields: [*fields, "a field of the future"],
        lambda fields: fields[:3],
        lambda fields: [fields[0], {"another": "shape"}],
    ],
)
def test_a_newer_version_is_refused_whatever_its_shape(change: Any) -> None:
    fields = change([RECORD_VERSION + 1, *fields_of(RECORD)[1:]])
    with pytest.raises(VersionTooNew, match="version 2"):
        unpack(RECORD.id, msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"{}", b"\x91\xa1x", b"\x93\x01\x02\x03"])
def test_what_is_no_record_is_damage_and_is_named(data: bytes) -> None:
    with pytest.raises(LogDamaged, match="0000000000050000"):
        unpack(id_at(5), data)


def test_a_truncated_record_is_damage_at_every_byte() -> None:
    data = pack(RECORD)
    for end in range(len(data)):
        with pytest.raises(LogDamaged):
            unpack(1, data[:end])


@given(st.binary(min_size=1, max_size=64), st.integers(0, MAX_ID), st.data())
def test_any_flipped_bit_changes_the_checksum(data: bytes, record_id: int, draw: Any) -> None:
    good = checksum(record_id, data)
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    assert checksum(record_id, bytes(broken)) != good
    assert checksum(record_id ^ (1 << draw.draw(st.integers(0, 63))), data) != good


def test_a_body_without_members_is_an_object_too() -> None:
    assert msgspec.json.decode(compose_body("seen", id_at(0), b"{}")) == {
        "type": "seen",
        "id": "0000000000000000",
        "created_at": "1970-01-01T00:00:00.000Z",
    }


def test_the_cost_grows_with_body_and_audience() -> None:
    wider = msgspec.structs.replace(RECORD, audience=("a", "b", "c"))
    longer = msgspec.structs.replace(RECORD, body=RECORD.body + b"x" * 10)
    assert wider.cost > RECORD.cost
    assert longer.cost == RECORD.cost + 10
