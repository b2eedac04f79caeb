"""Error frames: what a refused command is answered with."""

from __future__ import annotations

import msgspec

from chatsvc.core.errors import ChatError, RequestError, Unavailable
from chatsvc.core.text import has_surrogate
from chatsvc.server.surrogates import parse_with_surrogates
from chatsvc.wire.protocol import MAX_REF, Error


class _OnlyRef(msgspec.Struct):
    ref: str | None = None


_peek = msgspec.json.Decoder(_OnlyRef).decode


def ref_of(payload: bytes) -> str | None:
    """Return the ``ref`` of a refused frame, or ``None`` if it cannot be read."""
    try:
        ref = _peek(payload).ref
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        command = parse_with_surrogates(payload)
        ref = command.get("ref") if isinstance(command, dict) else None
        if not isinstance(ref, str) or has_surrogate(ref):
            return None
    return ref if ref is not None and len(ref) <= MAX_REF else None


def error_frame(error: ChatError, ref: str | None) -> Error:
    """Return the error frame for a refused command; the connection stays open."""
    if isinstance(error, RequestError):
        first = error.field_errors[0] if error.field_errors else None
        return Error(
            code=error.code,
            detail=error.detail,
            ref=ref,
            pointer=first.pointer if first else None,
            limit=first.limit if first else None,
            retry_after=error.retry_after,
            id=error.extra.get("id"),
        )
    if isinstance(error, Unavailable):
        return Error(code=error.code, detail=error.detail, ref=ref, retry_after=error.retry_after)
    return internal_error(ref)


def internal_error(ref: str | None) -> Error:
    """Return the error frame for an unexpected exception; the server's log has the details."""
    return Error(
        code="internal_error", detail="internal error: the server's log has the details", ref=ref
    )
