"""Frames of the protocol: strict from a client, open to one."""

from __future__ import annotations

import msgspec
import pytest

from chatsvc.wire.protocol import (
    Ack,
    Auth,
    AuthExpiring,
    AuthOk,
    CaughtUp,
    ClientFrame,
    CursorMoved,
    Error,
    Gap,
    Hello,
    Ping,
    Pong,
    Reset,
    Send,
    ServerFrame,
    encode_frame,
)

HELLO = Hello(
    user="alice",
    connection_id="c1",
    protocol="chatsvc.v1",
    server="chatsvc/1",
    features=["resume"],
    epoch="e",
    cursor="e.0000000000000001",
    heartbeat_seconds=30,
    max_content=16000,
    expires_at=1,
    server_time="2026-11-21T12:00:00.000Z",
)


decode = msgspec.json.Decoder(ClientFrame).decode


def test_a_client_sends_send_auth_and_ping() -> None:
    assert decode(
        b'{"type":"send","participants":["a"],"content":"x","ref":"1","client_id":"c",'
        b'"metadata":{"k":1}}'
    ) == Send(participants=["a"], content="x", ref="1", client_id="c", metadata={"k": 1})
    assert decode(b'{"type":"send","channel":"a","content":"x"}') == Send(channel="a", content="x")
    assert decode(b'{"type":"auth","token":"t"}') == Auth(token="t")
    assert decode(b'{"ref":"r","type":"ping"}') == Ping(ref="r")


@pytest.mark.parametrize(
    "frame",
    [
        b"{}",
        b"[]",
        b"null",
        b'"ping"',
        b'{"type":"nothing"}',
        b'{"type":1}',
        b'{"type":"ping","extra":1}',
        b'{"type":"send","participants":["a"],"content":"x","device":"d"}',
        b'{"type":"send","participants":["a"]}',
        b'{"type":"send","participants":null,"content":"x"}',
        b'{"type":"send","channel":null,"content":"x"}',
        b'{"type":"send","channel":["a"],"content":"x"}',
        b'{"type":"send","participants":"a","content":"x"}',
        b'{"type":"send","participants":["a",1],"content":"x"}',
        b'{"type":"send","participants":["a"],"content":1}',
        b'{"type":"send","participants":["a"],"content":"x","metadata":[]}',
        b'{"type":"send","participants":["a"],"content":"x","ref":1}',
        b'{"type":"auth"}',
        b'{"type":"auth","token":null}',
        b'{"type":"hello"}',
    ],
)
def test_whatever_else_is_refused(frame: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(frame)


def test_what_a_send_does_not_name_is_not_on_the_wire() -> None:
    named = encode_frame(Send(participants=["a"], content="x"))
    assert msgspec.json.decode(named).keys().isdisjoint({"channel"})
    keyed = encode_frame(Send(channel="a", content="x"))
    assert msgspec.json.decode(keyed).keys().isdisjoint({"participants"})


@pytest.mark.parametrize("frame", [b"", b"{", b"ping", b'{"type":"ping"}x', b"\x00"])
def test_what_is_not_json_is_told_apart(frame: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as raised:
        decode(frame)
    assert not isinstance(raised.value, msgspec.ValidationError)


@pytest.mark.parametrize(
    ("frame", "json"),
    [
        (CaughtUp(cursor="c"), {"type": "caught_up", "cursor": "c"}),
        (CursorMoved(cursor="c"), {"type": "cursor", "cursor": "c"}),
        (Ack(id="i", created_at="t"), {"type": "ack", "id": "i", "created_at": "t"}),
        (
            Ack(id="i", created_at="t", ref="r", duplicate=True),
            {"type": "ack", "id": "i", "created_at": "t", "ref": "r", "duplicate": True},
        ),
        (Error(code="c", detail="d"), {"type": "error", "code": "c", "detail": "d"}),
        (Pong(ref="r"), {"type": "pong", "ref": "r"}),
        (Pong(), {"type": "pong"}),
        (AuthOk(expires_at=5), {"type": "auth_ok", "expires_at": 5}),
        (AuthExpiring(in_seconds=60), {"type": "auth_expiring", "in_seconds": 60}),
        (Gap(from_="a", to="b"), {"type": "gap", "from": "a", "to": "b"}),
        (Reset(epoch="e", from_="a"), {"type": "reset", "epoch": "e", "from": "a"}),
    ],
)
def test_frames_to_a_client(frame: ServerFrame, json: dict[str, object]) -> None:
    assert msgspec.json.decode(encode_frame(frame)) == json


def test_hello_says_recovered_only_where_it_was_asked() -> None:
    assert "recovered" not in msgspec.json.decode(encode_frame(HELLO))
    for recovered in (True, False):
        asked = msgspec.structs.replace(HELLO, recovered=recovered)
        assert msgspec.json.decode(encode_frame(asked))["recovered"] is recovered
