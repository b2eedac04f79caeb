"""Client frames: from JSON to structs, strictly; and refusals as error frames."""

from __future__ import annotations

import msgspec

from chatsvc.core.errors import ChatError, Invalid, Malformed, RequestError, Unavailable
from chatsvc.server.errors import invalid_from_msgspec
from chatsvc.wire.protocol import MAX_REF, ClientFrame, Error, decode_client_frame


class _OnlyRef(msgspec.Struct):
    ref: str | None = None


_peek = msgspec.json.Decoder(_OnlyRef).decode


def decode_command(payload: bytes) -> ClientFrame:
    """A client's frame.

    Raises:
        Malformed: not JSON.
        Invalid: not a frame of the protocol; names the field.
    """
    try:
        command = decode_client_frame(payload)
    except msgspec.ValidationError as exc:
        raise invalid_from_msgspec(exc) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("a frame is JSON", code="malformed_json") from None
    except RecursionError:
        raise Malformed("this JSON nests too deep", code="malformed_json") from None
    if command.ref is not None and not 1 <= len(command.ref) <= MAX_REF:
        raise Invalid.at("/ref", "too_long", f"a ref has 1 to {MAX_REF} characters", MAX_REF)
    return command


def ref_of(payload: bytes) -> str | None:
    """The ``ref`` of a frame that is refused, if it can be read, so that the client knows
    which one it was."""
    try:
        ref = _peek(payload).ref
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return ref if ref is not None and len(ref) <= MAX_REF else None


def error_frame(error: ChatError, ref: str | None) -> Error:
    """The refusal of a frame; the connection goes on."""
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
    """What is told of an error that nobody raised on purpose; the log has the rest."""
    return Error(code="internal_error", detail="something is wrong on our side", ref=ref)
