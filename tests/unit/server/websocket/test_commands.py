"""From a frame's text to a command, and from an error to a frame."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.errors import (
    ChatError,
    Conflict,
    Invalid,
    LogDamaged,
    LogUnavailable,
    Malformed,
    TooManyRequests,
)
from chatsvc.server.websocket.commands import decode_command, error_frame, ref_of
from chatsvc.wire.protocol import Ping, Send


def test_good_commands() -> None:
    assert decode_command(b'{"type":"ping","ref":"%s"}' % (b"r" * 64)) == Ping(ref="r" * 64)
    assert decode_command(b'{"type":"send","participants":["a"],"content":"x"}') == Send(
        participants=["a"], content="x"
    )


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"nope", b'{"type":"ping"}}', b"[" * 100_000 + b"]" * 100_000,
     b'{"type":"send","participants":["a"],"content":"x","metadata":{"k":'
     + b"[" * 50_000 + b"]" * 50_000 + b"}}"],
    ids=["nothing", "half", "word", "two", "deep array", "deep metadata"],
)  # fmt: skip
def test_what_is_not_json_or_no_command(payload: bytes) -> None:
    with pytest.raises((Malformed, Invalid)):
        decode_command(payload)


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        (b'{"type":"send","participants":["a",5],"content":"x"}', "/participants/1"),
        (b'{"type":"send","participants":["a"],"content":5}', "/content"),
        (b'{"type":"send","participants":["a"],"content":"x","extra":1}', "/extra"),
        (b'{"type":"send","participants":["a"]}', "/content"),
        (b'{"type":"dance"}', "/type"),
        (b'{"type":"ping","ref":"%s"}' % (b"r" * 65), "/ref"),
        (b'{"type":"ping","ref":""}', "/ref"),
        (b'{"type":"send","participants":["a"],"content":"\\ud83d"}', "/content"),
    ],
)
def test_the_field_is_named(payload: bytes, pointer: str) -> None:
    with pytest.raises(Invalid) as raised:
        decode_command(payload)
    assert raised.value.field_errors[0].pointer == pointer


@pytest.mark.parametrize(
    ("payload", "ref"),
    [
        (b'{"type":"send","ref":"a","content":5}', "a"),
        (b'{"ref":"a"}', "a"),
        (b'{"ref":5}', None),
        (b'{"ref":"%s"}' % (b"r" * 65), None),
        (b"[]", None),
        (b"{", None),
        (b'{"ref":"\xff"}', None),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"ref":"a"}', None),
    ],
    ids=["send", "only", "number", "long", "array", "half", "bytes", "deep"],
)
def test_the_ref_of_a_refused_frame_is_found_where_it_can_be(
    payload: bytes, ref: str | None
) -> None:
    assert ref_of(payload) == ref


@given(st.binary(max_size=60))
def test_no_bytes_bring_it_down(payload: bytes) -> None:
    try:
        decode_command(payload)
    except (Malformed, Invalid):
        assert ref_of(payload) is None or isinstance(ref_of(payload), str)


@pytest.mark.parametrize(
    ("error", "frame"),
    [
        (
            Invalid.at("/content", "too_long", "content is long", 5),
            {"code": "too_long", "detail": "content is long", "pointer": "/content", "limit": 5},
        ),
        (
            Conflict("used", extra={"id": "00"}),
            {"code": "client_id_conflict", "detail": "used", "id": "00"},
        ),
        (
            TooManyRequests("slowly", retry_after=2.5),
            {"code": "too_many_requests", "detail": "slowly", "retry_after": 2.5},
        ),
        (
            LogUnavailable("full", code="disk_full", retry_after=5.0),
            {"code": "disk_full", "detail": "full", "retry_after": 5.0},
        ),
        (
            LogDamaged("path and offset, which are nobody's business"),
            {
                "code": "internal_error",
                "detail": "internal error: the server's log has the details",
            },
        ),
    ],
)
def test_errors_as_frames(error: ChatError, frame: dict[str, object]) -> None:
    made = msgspec.to_builtins(error_frame(error, "r"))
    assert made == {"type": "error", "ref": "r"} | frame


@pytest.mark.parametrize(
    ("payload", "ref"),
    [
        (b'{"type":"send","ref":"7","participants":["a"],"content":"\\ud83d"}', "7"),
        (b'{"type":"send","ref":"\\ud83d","participants":["a"],"content":"x"}', None),
        (b'{"type":"send","ref":7,"participants":["a"],"content":"\\ud83d"}', None),
        (b'["\\ud83d"]', None),
        (b'{"ref":"7","content":"\\ud83d"', None),
        (b'{"ref":"%s","content":"\\ud83d"}' % (b"r" * 65), None),
    ],
)
def test_the_ref_of_a_frame_with_half_an_emoji(payload: bytes, ref: str | None) -> None:
    assert ref_of(payload) == ref


def test_an_empty_ref_is_too_short_and_a_long_one_too_long() -> None:
    for ref, code, limit in (("", "too_short", 1), ("r" * 65, "too_long", 64)):
        with pytest.raises(Invalid) as raised:
            decode_command(msgspec.json.encode({"type": "ping", "ref": ref}))
        error = raised.value.field_errors[0]
        assert (error.pointer, error.code, error.limit) == ("/ref", code, limit)
