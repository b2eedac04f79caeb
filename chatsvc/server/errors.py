"""Convert exceptions to problem documents (RFC 9457).

Every error of every route has this form, those of the HTTP parser included.
"""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import Final

import msgspec

from chatsvc.core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    RequestError,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)

PROBLEM_TYPE: Final = "application/problem+json"


class MethodNotAllowed(RequestError):
    """The path does not have this method; ``allow`` lists those that it has."""

    code = "method_not_allowed"

    def __init__(self, detail: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allow = allow


class RequestTimeout(RequestError):
    """The head or the body did not arrive in time."""

    code = "request_timeout"


class ClientDisconnected(Exception):
    """The client disconnected during its request: no answer is sent."""


class UriTooLong(RequestError):
    """The request line exceeds its bound."""

    code = "uri_too_long"


class HeadersTooLarge(RequestError):
    """The head or a header field exceeds its bound, or there are too many fields."""

    code = "headers_too_large"


class ExpectationFailed(RequestError):
    """The ``Expect`` header is not 100-continue."""

    code = "expectation_failed"


class UpgradeRequired(RequestError):
    """The request is not a WebSocket handshake, or has another version."""

    code = "upgrade_required"


class VersionNotSupported(RequestError):
    """The request is of another version than HTTP/1."""

    code = "http_version_not_supported"


STATUS: Final[dict[type[Exception], int]] = {
    Malformed: 400,
    RequestError: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    RequestTimeout: 408,
    Conflict: 409,
    TooLarge: 413,
    UriTooLong: 414,
    UnsupportedMedia: 415,
    ExpectationFailed: 417,
    Invalid: 422,
    UpgradeRequired: 426,
    TooManyRequests: 429,
    HeadersTooLarge: 431,
    Unavailable: 503,
    VersionNotSupported: 505,
}

CLIENT_DISCONNECTED: Final = 499
"""The status in metrics and log of a request whose client disconnected; it is never sent."""

TITLES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
"""The phrases of RFC 9110; those of Python depend on its version."""


class ProblemFault(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A field error. ``pointer``: into the body, or ``/name`` of a parameter or header."""

    pointer: str
    code: str
    detail: str
    limit: int | None = None


class Problem(msgspec.Struct, kw_only=True):
    """A problem document (RFC 9457). ``code`` is stable; ``detail`` is for people.

    It may have further members: ``id`` of a conflict is that of the first message.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[ProblemFault]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error response: status, problem document and header fields."""

    status: int
    code: str
    body: bytes
    headers: dict[str, str]


_encode = msgspec.json.Encoder().encode
_MAX_FIELD_ERRORS: Final = 32


def status_of(exc: BaseException) -> int:
    """Return the HTTP status of an exception; 500 for one that was not raised on purpose."""
    for cls in type(exc).__mro__:
        status = STATUS.get(cls)
        if status is not None:
            return status
    return 500


def failure(exc: BaseException, request_id: str) -> Failure:
    """Return the error response of an exception.

    For an exception that was not raised on purpose it contains no details.
    """
    status = status_of(exc)
    code, detail = "internal_error", "internal error: the server's log has it under request_id"
    field_errors: tuple[FieldError, ...] = ()
    extra: dict[str, str] = {}
    headers: dict[str, str] = {}
    if isinstance(exc, RequestError):
        code, detail, field_errors, extra = exc.code, exc.detail, exc.field_errors, exc.extra
        headers = _headers(exc)
    elif isinstance(exc, Unavailable):
        code, detail = exc.code, exc.detail
        headers = {"Retry-After": _seconds(exc.retry_after)}
    document: dict[str, object] = {
        "type": "about:blank",
        "title": TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
        "errors": [
            ProblemFault(pointer=one.pointer, code=one.code, detail=one.detail, limit=one.limit)
            for one in field_errors[:_MAX_FIELD_ERRORS]
        ],
    }
    body = _encode({**extra, **document})
    return Failure(status=status, code=code, body=body, headers=headers)


def log_fields(exc: BaseException) -> dict[str, str]:
    """Return the fields of a log line about a refusal.

    ``code`` is that of the problem document. A refused token also has a ``reason``, which
    names the claim or part that was wrong and never repeats the token. The details of other
    errors may quote the request and are omitted.
    """
    if isinstance(exc, Unauthorized):
        return {"code": exc.code, "reason": exc.detail}
    if isinstance(exc, RequestError | Unavailable):
        return {"code": exc.code}
    return {}


_AT = re.compile(r" - at `(?P<path>[^`]*)`\Z")
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`\Z", re.DOTALL)
_TYPE = re.compile(r"Expected `(?P<want>[^`]*)`(, got `(?P<got>[^`]*)`)?")
_NAME_SHOWN: Final = 128


def invalid_from_msgspec(exc: msgspec.ValidationError) -> Invalid:
    """Convert an error of msgspec to one with a JSON pointer and a code."""
    text = str(exc)
    at = _AT.search(text)
    pointer = "" if at is None else _pointer(at["path"])
    text_before = text if at is None else text[: at.start()]
    if match := _UNKNOWN.match(text_before):
        name = match["name"][:_NAME_SHOWN]
        return Invalid.at(
            f"{pointer}/{pointer_step(name)}", "unknown_field", f"unknown field {name!r}"
        )
    if match := _MISSING.match(text_before):
        name = match["name"]
        return Invalid.at(f"{pointer}/{pointer_step(name)}", "missing", f"{name} must be given")
    where = pointer or "the body"
    if match := _TYPE.match(text_before):
        got = f", not {match['got']}" if match["got"] else ""
        return Invalid.at(pointer, "wrong_type", f"{where} must be of type {match['want']}{got}")
    text = text_before[:1].lower() + text_before[1:200]
    return Invalid.at(pointer, "bad_value", f"{where} must have an allowed value: {text}")


def _pointer(path: str) -> str:
    """Convert ``$.participants[3]`` to ``/participants/3`` (RFC 6901)."""
    parts: list[str] = []
    for step in _STEP.finditer(path):
        if step["name"] is not None:
            parts.append("/" + pointer_step(step["name"]))
        elif step["index"] != "...":
            parts.append("/" + step["index"])
    return "".join(parts)


def pointer_step(name: str) -> str:
    """Return a member's name as a JSON pointer has it (RFC 6901 §3)."""
    return name.replace("~", "~0").replace("/", "~1")


def _headers(exc: RequestError) -> dict[str, str]:
    if isinstance(exc, Unauthorized):
        return {"WWW-Authenticate": _challenge(exc)}
    if isinstance(exc, UpgradeRequired):
        # RFC 9110 §15.5.22 and RFC 6455 §4.4.
        return {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    if isinstance(exc, MethodNotAllowed):
        return {"Allow": ", ".join(exc.allow)}
    if isinstance(exc, UnsupportedMedia) and exc.code == "unsupported_content_encoding":
        return {"Accept-Encoding": "identity"}
    if exc.retry_after is not None:
        return {"Retry-After": _seconds(exc.retry_after)}
    return {}


def _challenge(exc: Unauthorized) -> str:
    """Return ``WWW-Authenticate``; without a token it names no error (RFC 6750 §3)."""
    if exc.code == "token_missing":
        return 'Bearer realm="chatsvc"'
    description = re.sub(r'[^\x20-\x7e]|["\\]', " ", exc.detail)[:200]
    return f'Bearer realm="chatsvc", error="invalid_token", error_description="{description}"'


def _seconds(value: float) -> str:
    """Return whole seconds, at least one (RFC 9110 §10.2.3)."""
    return str(max(1, math.ceil(value)))
