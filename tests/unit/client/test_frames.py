from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.client.events import ChangeReceived, MessageReceived
from chatsvc.client.frames import OtherRecord, decode_frame, read_cursor, read_hello
from chatsvc.client.kinds import chosen_kinds
from chatsvc.core.ids import parse_id
from chatsvc.wire import protocol as wire
from testkit.scripted_server import cursor, message, message_id


def decoded(frame: object) -> object:
    return decode_frame(json.dumps(frame).encode(), "e1")


def record(kind: object, number: int, **more: Any) -> dict[str, Any]:
    """What every record has, and no more."""
    whole = message(number)
    members = {name: whole[name] for name in ("id", "channel", "sender", "created_at")}
    return {"type": kind, **members, **more}


def test_a_message() -> None:
    event = decoded(message(1, colour="new", metadata=7))
    assert isinstance(event, MessageReceived)
    assert (event.id, event.content, event.cursor) == (message_id(1), "number 1", cursor(1))
    assert event.metadata is None


def test_a_message_without_content_is_one() -> None:
    event = decoded(record("message", 1, unsent=True))
    assert isinstance(event, MessageReceived)
    assert (event.content, event.participants) == ("", ())
    assert json.loads(event.raw)["unsent"] is True


@pytest.mark.parametrize("kind", ["reaction", "joined", 5, None, ["a"], {"a": 1}])
def test_a_record_of_a_kind_that_is_not_known_has_a_position(kind: object) -> None:
    assert decoded(record(kind, 7)) == OtherRecord(parse_id(message_id(7)))


@pytest.mark.parametrize("missing", ["id", "channel", "sender", "created_at"])
def test_without_what_every_record_has_it_is_a_control_frame(missing: str) -> None:
    frame = record("typing", 7)
    del frame[missing]
    assert decoded(frame) is None


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "typing", "who": "bob"},
        {"type": "pong", "ref": "1"},
        {"type": "auth_ok"},
        {"type": "hello"},
        {"no": "type"},
        {"type": "presence", "id": "not an id", "channel": "c", "sender": "s", "created_at": "t"},
        {},
    ],
)
def test_other_frames_are_of_no_use(frame: dict[str, Any]) -> None:
    assert decoded(frame) is None


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            {"type": "ack", "id": "i", "created_at": "t", "duplicate": "yes", "seen": 3},
            wire.Ack(id="i", created_at="t"),
        ),
        (
            {"type": "error", "code": "new", "detail": "d", "limit": "2 MB", "retry_after": [1]},
            wire.Error(code="new", detail="d"),
        ),
        ({"type": "gap", "from": "1", "to": "2", "why": "x"}, wire.Gap(from_="1", to="2")),
        ({"type": "reset", "epoch": "e", "from": "1", "n": 1}, wire.Reset(epoch="e", from_="1")),
        ({"type": "stored", "up_to": "1", "x": 1}, wire.Stored(up_to="1")),
        ({"type": "caught_up", "cursor": "c", "x": 1}, wire.CaughtUp(cursor="c")),
        ({"type": "cursor", "cursor": "c", "x": 1}, wire.CursorMoved(cursor="c")),
        ({"type": "auth_expiring", "in_seconds": 5, "x": 1}, wire.AuthExpiring(in_seconds=5)),
    ],
)
def test_known_frames_with_more_in_them(frame: dict[str, Any], expected: object) -> None:
    assert decoded(frame) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b'"message"',
        b'{"type":"message","id":"x"}',
        b'{"type":"gap","from":"1"}',
        b'{"type":"ack"}',
        b'{"type":"a","b":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_frame_of_the_protocol(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_frame(data, "e1")


def test_a_message_with_another_id_is_told_as_that() -> None:
    with pytest.raises(msgspec.DecodeError, match="16 lower-case hex digits"):
        decoded(message(1) | {"id": "x"})


MEMBERS = st.sampled_from(
    ["type", "id", "channel", "sender", "content", "created_at", "ref", "code", "from", "to", "x"]
)
VALUES = (
    st.none()
    | st.integers()
    | st.text()
    | st.sampled_from(
        ["message", "ack", "gap", "error", "hello", "cursor", message_id(1), cursor(1)]
    )
)


@given(st.dictionaries(MEMBERS, VALUES))
def test_no_object_raises_anything_but_a_decode_error(frame: dict[str, Any]) -> None:
    try:
        decoded(frame)
    except msgspec.DecodeError:
        assert frame["type"] in {"message", "ack", "gap", "error", "cursor"}


def test_a_hello_with_more_and_other_values() -> None:
    frame = {
        "type": "hello", "user": "u", "connection_id": "c", "protocol": "chatsvc.v1",
        "server": "s", "features": ["resume", "new"], "epoch": "e", "cursor": cursor(1, "e"),
        "heartbeat_seconds": 30, "max_content": 1, "expires_at": 5, "recovered": "partly",
        "server_time": {"new": "form"},
    }  # fmt: skip
    hello = read_hello(json.dumps(frame).encode())
    assert (hello.user, hello.recovered, hello.heartbeat_seconds) == ("u", None, 30.0)


@pytest.mark.parametrize("epoch", ["e1", "lfsch1h9vo", "a-new.form_of-Epoch", "E" * 100])
def test_the_epoch_of_a_cursor_is_the_servers_own(epoch: str) -> None:
    found = read_cursor(cursor(3, epoch))
    assert found is not None
    assert (found.epoch, found.id, str(found)) == (epoch, parse_id(message_id(3)), cursor(3, epoch))


@pytest.mark.parametrize("text", ["", ".", "e1", "e1.", f".{message_id(1)}", "e1.1", "e1.x"])
def test_what_is_no_cursor(text: str) -> None:
    assert read_cursor(text) is None


def test_a_record_of_a_kind_that_was_asked_for_is_a_change() -> None:
    data = json.dumps(record("edit", 7, target=message_id(1), who=["bob"])).encode()
    for kinds in (chosen_kinds(["edit"]), chosen_kinds("all")):
        event = decode_frame(data, "e1", kinds)
        assert isinstance(event, ChangeReceived)
        assert (event.kind, event.id, event.cursor) == ("edit", message_id(7), cursor(7))
        assert event.fields == {"target": message_id(1), "who": ["bob"]}
        assert event.raw == data


def test_a_record_of_a_kind_that_was_not_asked_for_is_passed_over() -> None:
    kinds = chosen_kinds(["edit"])
    for kind in ("message", "reaction", 5, None):
        data = json.dumps(record(kind, 7)).encode()
        assert decode_frame(data, "e1", kinds) == OtherRecord(parse_id(message_id(7)))


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "typing", "channel": "c", "sender": "s"},
        {"type": "pong", "ref": "1"},
        {"type": "vote", "id": "x", "channel": "c", "sender": "s", "created_at": "t"},
        {},
    ],
)
def test_frames_that_are_no_records_are_none_with_all_kinds(frame: dict[str, Any]) -> None:
    assert decode_frame(json.dumps(frame).encode(), "e1", chosen_kinds("all")) is None


def test_control_frames_are_no_changes_even_with_what_a_record_has() -> None:
    frame = record("gap", 7) | {"from": "1", "to": "2"}
    found = decode_frame(json.dumps(frame).encode(), "e1", chosen_kinds("all"))
    assert found == wire.Gap(from_="1", to="2")


def test_a_change_that_cannot_be_read_is_no_record_to_pass_over() -> None:
    data = json.dumps(record("edit", 7, text="?")).encode().replace(b"?", b"\xff")
    with pytest.raises(msgspec.DecodeError, match="not UTF-8"):
        decode_frame(data, "e1", chosen_kinds("all"))
    assert decode_frame(data, "e1") == OtherRecord(parse_id(message_id(7)))
