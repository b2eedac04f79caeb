"""The persisted form: there and back, versions, and what a checksum covers."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.change import draft_change
from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.ids import MAX_ID, id_at
from chatsvc.core.kinds import Kind
from chatsvc.core.membership import (
    THIS_RECORD,
    Channel,
    Filter,
    Member,
    RequestKey,
    StateChange,
)
from chatsvc.core.message import draft_message
from chatsvc.core.participants import user_id_error
from chatsvc.core.record import (
    RECORD_VERSION,
    Record,
    accept,
    checksum,
    compose_body,
    moved,
    pack,
    pack_draft,
    unpack,
)
from chatsvc.core.record_size import TOUCH_BYTES, text_bytes
from testkit.records import draft

TEXT = st.text(max_size=20)
LAST_ID = id_at(253_402_300_799_999)
"""In the last millisecond of which ``created_at`` can tell."""
IDS = st.integers(0, LAST_ID)
RECORDS = st.builds(
    Record,
    id=st.integers(0, LAST_ID),
    kind=TEXT,
    channel=TEXT,
    audience=st.lists(TEXT, max_size=4).map(tuple),
    sender=TEXT,
    origin=TEXT,
    client_id=st.none() | TEXT,
    digest=st.binary(max_size=16),
    body=st.binary(max_size=100),
    target=TEXT,
    touches=st.lists(TEXT, max_size=2).map(tuple),
    state=st.none()
    | st.builds(
        StateChange,
        st.lists(st.builds(Member, TEXT, IDS, IDS, TEXT, IDS), max_size=2).map(tuple),
        st.none() | st.builds(Channel, IDS, st.binary(max_size=9), IDS),
        st.lists(st.builds(Filter, TEXT, TEXT, TEXT, IDS, IDS), min_size=1, max_size=2).map(tuple),
    ),
    keys=st.lists(st.builds(RequestKey, TEXT, TEXT, st.binary()), max_size=2).map(tuple),
)


def fields_of(record: Record) -> list[Any]:
    """As :func:`pack` writes it."""
    fields: list[Any] = msgspec.msgpack.decode(pack(record))
    return fields


COMPOSED = (
    b'{"type":"message","id":"0000000000050000","created_at":"1970-01-01T00:00:00.005Z",'
    b'"channel":"a,b","sender":"a","participants":["a","b"],"client_id":"c","content":"hi"}'
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
    body=COMPOSED,
)


@given(RECORDS)
def test_there_and_back(record: Record) -> None:
    assert unpack(record.id, pack(record)) == record


def test_the_packed_form_is_version_2_as_it_was_first_written() -> None:
    assert msgspec.msgpack.decode(pack(RECORD)) == [
        2, "message", "a,b", None, None, None, None, None, "a", "phone", "c", b"d" * 16, [], "",
        b',"content":"hi"}',
    ]  # fmt: skip


def test_what_a_change_is_about_and_touches_is_kept() -> None:
    one = msgspec.structs.replace(RECORD, target="t", touches=("m/a,b/a", "r/a,b"))
    assert msgspec.msgpack.decode(pack(one))[12:14] == [["m/a,b/a", "r/a,b"], "t"]
    assert unpack(one.id, pack(one)) == one


@pytest.mark.parametrize(
    ("channel", "audience", "to"),
    [
        ("a,b", ("a", "b"), None),
        ("a", ("a",), None),
        ("", ("",), None),
        ("a,b", ("a",), ["a"]),
        ("a,b", ("a", "b", "c"), ["a", "b", "c"]),
        ("a,b", ("b", "a"), ["b", "a"]),
        ("a,b", ("a,b",), ["a,b"]),
        ("", (), []),
        (",sha256:00", ("a", "b"), ["a", "b"]),
        (",g:1", ("a", "b"), ["a", "b"]),
        (",u:a", ("a",), ["a"]),
        (",sha256:00", (), []),
        (",a", ("", "a"), ["", "a"]),
    ],
)
def test_the_people_are_named_where_the_channel_does_not_name_them(
    channel: str, audience: tuple[str, ...], to: list[str] | None
) -> None:
    one = msgspec.structs.replace(RECORD, channel=channel, audience=audience)
    assert fields_of(one)[3] == to
    assert unpack(one.id, pack(one)) == one


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b'{"type":"message"}',
        COMPOSED[:-20],
        COMPOSED.replace(b'"sender":"a"', b'"sender":"b"'),
        COMPOSED.replace(b"00050000", b"00060000"),
        COMPOSED.replace(b'["a","b"]', b'["a"]'),
        COMPOSED.replace(b'"client_id":"c"', b'"client_id":"d"'),
        COMPOSED.replace(b'"channel":"a,b","sender":"a"', b'"sender":"a","channel":"a,b"'),
    ],
)
def test_a_body_that_does_not_begin_with_its_envelope_is_kept_as_it_is(body: bytes) -> None:
    one = msgspec.structs.replace(RECORD, body=body, target="t")
    assert fields_of(one)[14] == [body]
    assert unpack(one.id, pack(one)) == one


def test_only_a_message_names_its_participants() -> None:
    message = accept(draft("x"), RECORD.id)
    assert fields_of(message)[14] == b',"content":"x"}'
    edit = accept(msgspec.structs.replace(draft("x"), kind="edit", own_at=0), RECORD.id)
    assert fields_of(edit)[14] == b',"participants":["alice","bob"],"content":"x"}'
    assert unpack(edit.id, pack(edit)) == edit


NAMES = st.text(min_size=1, max_size=20).filter(lambda name: user_id_error(name) is None)


@given(
    st.lists(NAMES, min_size=1, max_size=60, unique=True),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.just(',"content":"'),
    st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1),
    st.none() | st.just({"content": 1, "a": {"content": ',"content":'}}),
    st.integers(0, LAST_ID),
)
def test_a_message_is_read_byte_for_byte_as_it_was_delivered(
    people: list[str],
    content: str,
    client_id: str | None,
    metadata: dict[str, object] | None,
    record_id: int,
) -> None:
    one = draft(content, to=people, client_id=client_id, metadata=metadata)
    live = accept(one, record_id)
    data = pack_draft(one)
    assert data == pack(live)
    assert unpack(record_id, data) == live
    assert isinstance(msgspec.msgpack.decode(data)[14], bytes), "nothing stands in it twice"
    body = msgspec.json.decode(live.body)
    assert body["participants"] == sorted(people)
    assert (body["content"], body.get("client_id")) == (content, client_id)


def test_a_draft_is_packed_alike_whether_it_says_where_its_own_members_begin_or_not() -> None:
    one = msgspec.structs.replace(draft("x", client_id="k"), touches=("k",), target="t")
    unsaid = msgspec.structs.replace(one, own_at=0)
    assert pack_draft(one) == pack_draft(unsaid)
    assert one.rest[one.own_at :] == b',"content":"x"}'


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("found", [0, "", ["x"], {"a": 1}])
def test_rows_of_another_shape_are_damage(number: int, found: object) -> None:
    fields = fields_of(RECORD)
    fields[4 + number] = found
    with pytest.raises(LogDamaged, match="0000000000050000 cannot be read"):
        unpack(RECORD.id, msgspec.msgpack.encode(fields))


ROWS = StateChange(
    (Member("a", id_at(5)), Member("b", 1, id_at(5), "admin", 1, 2, 3)),
    Channel(7, b'{"name":"x"}', 0),
    (Filter("a", "block", "b", id_at(5)),),
)


@pytest.mark.parametrize("channel", [",g:1", ",r:hall"])
def test_a_record_for_the_members_of_its_channel_names_nobody(channel: str) -> None:
    one = accept(
        draft_message(channel=channel, participants=(), sender="a", content="x", origin=""),
        id_at(5),
    )
    assert msgspec.json.decode(one.body)["participants"] == []
    assert fields_of(one)[3] is None
    assert unpack(one.id, pack(one)) == one


def test_nobody_and_a_channel_that_lists_nobody_is_of_a_later_program() -> None:
    fields = fields_of(RECORD)
    fields[2:4] = [",x:1", None]
    with pytest.raises(VersionTooNew, match="has nobody in 'to'"):
        unpack(RECORD.id, msgspec.msgpack.encode(fields))


def test_rows_of_state_are_kept_and_their_count_stands_in_the_body() -> None:
    change = Kind(name="member", blockable=False)
    drafted = draft_change(
        change, channel=",g:1", audience=(), sender="a", fields={"user": "b"}, state=ROWS,
    )  # fmt: skip
    one = accept(drafted, id_at(5))
    assert one.body.startswith(
        b'{"type":"member","id":"0000000000050000","created_at":"1970-01-01T00:00:00.005Z",'
        b'"member_count":7,"channel":",g:1","sender":"a","user":"b"}'
    )
    packed = fields_of(one)
    assert packed[4] == [["a", one.id, 0, "member", 0, 0, 0], ["b", 1, one.id, "admin", 1, 2, 3]]
    assert packed[5:8] == [[7, b'{"name":"x"}', 0], [["a", "block", "b", one.id, 0]], None]
    assert packed[-1] == b',"user":"b"}'
    assert pack_draft(drafted) == pack(accept(drafted, 0))
    assert unpack(one.id, pack(one)) == one
    later = moved(one, id_at(6))
    assert later.body == one.body.replace(b"50000", b"60000").replace(b"0.005Z", b"0.006Z")
    assert unpack(later.id, pack(later)) == later


def test_the_requests_that_became_one_record_are_kept() -> None:
    keys = (RequestKey("a", "k", b"d"), RequestKey("b", "k", b"e"))
    one = msgspec.structs.replace(RECORD, keys=keys)
    assert fields_of(one)[7] == [["a", "k", b"d"], ["b", "k", b"e"]]
    assert unpack(one.id, pack(one)) == one


def test_a_draft_does_not_know_its_id_and_its_record_does() -> None:
    rows = StateChange(
        (Member("a", THIS_RECORD, 0, "member", THIS_RECORD), Member("b", 3, THIS_RECORD)),
        Channel(1, b"{}", THIS_RECORD),
        (Filter("a", "left", "a,b", THIS_RECORD), Filter("a", "left", "a,c", 4, THIS_RECORD)),
    )
    one = accept(msgspec.structs.replace(draft("x"), state=rows), 9)
    assert one.state == StateChange(
        (Member("a", 9, 0, "member", 9), Member("b", 3, 9)),
        Channel(1, b"{}", 9),
        (Filter("a", "left", "a,b", 9), Filter("a", "left", "a,c", 4, 9)),
    )
    assert one.state.at(10) == one.state


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
    with pytest.raises(VersionTooNew, match="version 3; this program knows up to version 2"):
        unpack(RECORD.id, msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"{}",
        b"\x91\xa1x",
        b"\x93\x01\x02\x03",
        b"\x93\x02\x02\x03",
        b"\x9f\x02\xa1\xff",
        b"\x91" * 100_000,
    ],
)
def test_what_is_no_record_is_damage_and_is_named(data: bytes) -> None:
    with pytest.raises(LogDamaged, match="0000000000050000"):
        unpack(id_at(5), data)


def test_an_id_of_a_time_that_cannot_be_is_damage() -> None:
    with pytest.raises(LogDamaged, match="ffffffffffffffff cannot be read"):
        unpack(MAX_ID, pack(RECORD))


def test_a_bit_that_is_wrong_is_damage_or_a_newer_version_or_another_record() -> None:
    data = pack(RECORD)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with suppress(LogDamaged, VersionTooNew):
            assert unpack(RECORD.id, bytes(changed)) != RECORD


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
    touching = msgspec.structs.replace(RECORD, touches=("a", "b"))
    assert touching.cost == RECORD.cost + 2 * (TOUCH_BYTES + text_bytes("a"))
    about = msgspec.structs.replace(RECORD, target="x" * 10)
    assert about.cost == RECORD.cost + text_bytes("x" * 10)


@pytest.mark.parametrize("character", ["x", "é", "日", "\U0001f600", "\ud800"], ids=ascii)
@pytest.mark.parametrize("encoded", [False, True])
def test_a_text_takes_no_more_than_is_counted(character: str, encoded: bool) -> None:
    own = character * 90
    counted = text_bytes(own)
    if encoded:
        with suppress(UnicodeEncodeError):
            msgspec.msgpack.encode(own)
    assert sys.getsizeof(own) <= counted == text_bytes(own)


def test_a_draft_costs_what_its_record_does() -> None:
    one = msgspec.structs.replace(draft("x", client_id="k"), touches=("a", "b"))
    assert one.cost == accept(one, RECORD.id).cost
