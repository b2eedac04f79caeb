"""Decode client frames strictly, and make error frames from refusals."""

from __future__ import annotations

import msgspec

from chatsvc.core.errors import ChatError, Invalid, Malformed, RequestError, Unavailable
from chatsvc.core.text import has_surrogate
from chatsvc.server.errors import invalid_from_msgspec
from chatsvc.server.surrogates import check_surrogates, parse_with_surrogates
from chatsvc.wire.protocol import MAX_REF, ClientFrame, Error, decode_client_frame


class _OnlyRef(msgspec.Struct):
    ref: str | None = None


_peek = msgspec.json.Decoder(_OnlyRef).decode


def decode_command(payload: bytes) -> ClientFrame:
    """Decode a frame of a client.

    Raises:
        Malformed: the frame is not JSON.
        Invalid: the frame is not one of the protocol; the error names the field.
    """
    try:
        command = decode_client_frame(payload)
    except msgspec.ValidationError as exc:
        raise invalid_from_msgspec(exc) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        check_surrogates(payload)
        raise Malformed("a frame must be JSON", code="malformed_json") from None
    except RecursionError:
        raise Malformed("the JSON must not be nested so deeply", code="malformed_json") from None
    if command.ref == "":
        raise Invalid.at("/ref", "too_short", "ref must have at least 1 character", 1)
    if command.ref is not None and len(command.ref) > MAX_REF:
        raise Invalid.at("/ref", "too_long", f"ref must have at most {MAX_REF} characters", MAX_REF)
    return command


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
