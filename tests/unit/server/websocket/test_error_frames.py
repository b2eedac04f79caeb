"""From an error to a frame."""

from __future__ import annotations

import msgspec
import pytest

from chatsvc.core.errors import (
    ChatError,
    Conflict,
    Invalid,
    LogDamaged,
    LogUnavailable,
    TooManyRequests,
)
from chatsvc.server.websocket.error_frames import error_frame, ref_of


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
