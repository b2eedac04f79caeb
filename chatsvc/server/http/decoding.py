"""Decode requests to the structs that operations take; strict throughout."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from chatsvc.api.operation import Operation
from chatsvc.core.errors import (
    FieldError,
    Invalid,
    Malformed,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
)
from chatsvc.server.errors import ClientDisconnected, RequestTimeout, invalid_from_msgspec
from chatsvc.server.http.declarations import path_names
from chatsvc.server.surrogates import check_surrogates

BODY_SECONDS: Final = 30.0
"""The time limit for a body, after its head has arrived."""

_MAX_PARAMETERS: Final = 32
_JSON_TYPE: Final = re.compile(
    r'application/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?;?\s*\Z', re.IGNORECASE
)


def bearer_token(request: web.BaseRequest) -> str:
    """Return the token of ``Authorization: Bearer …`` (RFC 6750 §2.1), not verified.

    Raises:
        Unauthorized: there is none, or the scheme is another one.
    """
    values = request.headers.getall("Authorization", None)
    if not values:
        raise Unauthorized(
            "the request must have a token: send Authorization: Bearer <token>",
            code="token_missing",
        )
    scheme, _, token = values[0].partition(" ")
    if scheme != "Bearer" and scheme.lower() != "bearer":
        raise Unauthorized(
            "the Authorization header must use the scheme Bearer", code="token_scheme"
        )
    token = token.strip(" ")
    if len(values) > 1 or not token or not token.isascii():
        raise Unauthorized(
            "the Authorization header must hold one token, once", code="token_invalid"
        )
    return token


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the whole body, at most ``max_bytes``, of a request that declares JSON.

    A body with a larger ``Content-Length`` is refused before it is read.

    Raises:
        UnsupportedMedia: it is not declared to be JSON.
        TooLarge: it exceeds the bound.
        RequestTimeout: it did not arrive within :data:`BODY_SECONDS`.
        Malformed: its chunks violate RFC 9112.
        ClientDisconnected: the connection was lost.
    """
    check_media(request)
    return await _read_whole(request, max_bytes)


async def read_optional_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the whole body as :func:`read_body` does, or ``{}`` where it is empty.

    An empty body need not be declared as JSON. Whether a chunked one is empty is known only
    after it was read.

    Raises:
        as :func:`read_body`.
    """
    if request.content_length:
        return await read_body(request, max_bytes)
    body = await _read_whole(request, max_bytes)
    if not body:
        return b"{}"
    check_media(request)
    return body


async def _read_whole(request: web.Request, max_bytes: int) -> bytes:
    length = request.content_length
    if length is not None and length > max_bytes:
        raise too_large(max_bytes)
    content = request.content
    if content.is_eof() and content.exception() is None:  # it arrived together with the head
        body = content.read_nowait(-1)
    else:
        with body_errors():
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read_within(request, max_bytes)
            except TimeoutError:
                detail = f"the body must arrive within {BODY_SECONDS:g} seconds"
                raise RequestTimeout(detail) from None
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    return body


@contextmanager
def body_errors() -> Iterator[None]:
    """Translate the errors of a body's stream.

    The stream keeps its exception, whose traceback would hold the frames that read it, and the
    body with them, until a garbage collection: so it is removed.
    """
    try:
        yield
    except RequestPayloadError as exc:
        exc.__traceback__ = None
        raise Malformed("the body must be framed as in HTTP/1.1", code="bad_body") from None
    except OSError as exc:
        exc.__traceback__ = None
        raise ClientDisconnected from None


async def _read_within(request: web.Request, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await request.content.readany():
        size += len(part)
        if size > max_bytes:
            raise too_large(max_bytes)
        parts.append(part)
    return b"".join(parts)


def too_large(max_bytes: int) -> TooLarge:
    """Return the error of a body that exceeds its bound."""
    detail = f"the body must have at most {max_bytes} bytes"
    return TooLarge(detail, field_errors=(FieldError("", "body_too_large", detail, max_bytes),))


def check_media(request: web.BaseRequest) -> None:
    """Check that the request declares a JSON body.

    Raises:
        UnsupportedMedia: it does not; the detail names the header to send.
    """
    headers = request.headers
    if "Content-Encoding" in headers:
        check_encoding(request)
    kind = headers.get("Content-Type", "")
    if kind != "application/json" and not _JSON_TYPE.match(kind):
        raise wrong_media(
            "/Content-Type",
            "unsupported_media_type",
            "the body must be JSON in UTF-8: send Content-Type: application/json",
        )


def check_encoding(request: web.BaseRequest) -> None:
    """Check that the body of a request is not compressed.

    Raises:
        UnsupportedMedia: it is; the detail names the header.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise wrong_media(
            "/Content-Encoding",
            "unsupported_content_encoding",
            "the body must not be compressed: send it without Content-Encoding",
        )


def wrong_media(pointer: str, code: str, detail: str) -> UnsupportedMedia:
    """Return the error of a body that is not declared as it must be."""
    return UnsupportedMedia(detail, code=code, field_errors=(FieldError(pointer, code, detail),))


def body_decoder(kind: type[msgspec.Struct]) -> Callable[[bytes], Any]:
    """Return a function that decodes JSON bytes to the struct.

    The function raises:
        Malformed: not JSON, not UTF-8, or nested too deep to be decoded.
        Invalid: JSON that does not fit the struct; with a pointer.
    """
    decode = msgspec.json.Decoder(kind).decode

    def read(body: bytes) -> Any:
        try:
            return decode(body)
        except msgspec.ValidationError as exc:
            if "got `float`" not in str(exc):
                raise invalid_from_msgspec(exc) from None
        except msgspec.DecodeError as exc:
            check_surrogates(body)
            text = str(exc) if body else "it is empty"
            raise Malformed(f"the body must be JSON: {text}", code="malformed_json") from None
        except UnicodeDecodeError:
            raise Malformed("the body must be UTF-8", code="not_utf8") from None
        except RecursionError:
            raise Malformed("the body must not nest so deep", code="malformed_json") from None
        return _with_whole_numbers(body, kind)

    return read


def _with_whole_numbers(body: bytes, kind: type[msgspec.Struct]) -> Any:
    """Decode a body in which an integer may stand as ``10.0``.

    To JSON Schema that is one (draft 2020-12, validation, §6.1.1); some languages write it so.
    """
    try:
        return msgspec.convert(_whole(msgspec.json.decode(body)), kind)
    except msgspec.ValidationError as exc:
        raise invalid_from_msgspec(exc) from None
    except RecursionError:
        raise Malformed("the body must not nest so deep", code="malformed_json") from None


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return value


def parameter_decoder(operation: Operation) -> Callable[[web.Request], Any]:
    """Return a function that decodes a request's query string and path to the struct.

    The function raises:
        Malformed: the query string or the path is not UTF-8.
        Invalid: a parameter that is unknown, repeated, missing or of the wrong type.
    """
    names = path_names(operation)
    kind = operation.request

    def read(request: web.Request) -> Any:
        values = read_query(request)
        if names:
            for name in names:
                if name in values:
                    raise _unknown(name)
            values |= _read_path(request, names)
        try:
            return msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError as exc:
            raise invalid_from_msgspec(exc) from None

    return read


def path_decoder(operation: Operation) -> Callable[[web.Request], Any] | None:
    """Return a function that decodes a request's path to ``path_fields``, if there are any.

    The function raises:
        Malformed: the path is not UTF-8.
        Invalid: a name that does not fit its field.
    """
    kind, names = operation.path_fields, path_names(operation)
    if kind is None:
        return None

    def read(request: web.Request) -> Any:
        try:
            return msgspec.convert(_read_path(request, names), kind)
        except msgspec.ValidationError as exc:
            raise invalid_from_msgspec(exc) from None

    return read


def _read_path(request: web.Request, names: tuple[str, ...]) -> dict[str, str]:
    """Return the variable parts of the path, which aiohttp has percent-decoded.

    It leaves what is not UTF-8 encoded: ``%FF`` would be the same as ``%25FF``.
    """
    raw = request.rel_url.raw_path
    if "%" in raw:
        try:
            unquote(raw, errors="strict")
        except UnicodeDecodeError:
            raise Malformed("the path must be UTF-8", code="not_utf8") from None
    return {name: request.match_info[name] for name in names}


def check_no_query(request: web.Request) -> None:
    """Check that a request with a body has no query parameter.

    Raises:
        Invalid: it has one.
    """
    for name in read_query(request):
        raise _unknown(name)


def read_query(request: web.BaseRequest) -> dict[str, str]:
    """Return the parameters of the query string; their number is checked before they are parsed.

    Raises:
        Malformed: it is not UTF-8.
        Invalid: there are too many, or one is given twice.
    """
    raw = request.rel_url.raw_query_string
    if not raw:
        return {}
    try:
        raw.encode()  # bytes beyond ASCII that are not UTF-8 are surrogates here
        pairs = parse_qsl(
            raw, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except UnicodeError:
        raise Malformed("the query string must be UTF-8", code="not_utf8") from None
    except ValueError:
        raise Invalid.at(
            "",
            "too_many",
            f"the query string must have at most {_MAX_PARAMETERS} parameters",
            _MAX_PARAMETERS,
        ) from None
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid.at(
            f"/{shown(twice)}", "repeated", f"parameter {shown(twice)!r} must be given once"
        )
    return values


def _unknown(name: str) -> Invalid:
    return Invalid.at(f"/{shown(name)}", "unknown_field", f"unknown parameter {shown(name)!r}")


def shown(name: str) -> str:
    """Return the beginning of a parameter's name, escaped for a JSON pointer."""
    return name[:128].replace("~", "~0").replace("/", "~1")


def header_decoder(operation: Operation) -> Callable[[web.Request], Any] | None:
    """Return a function that decodes a request's headers to the struct, if there is one.

    The function raises:
        Invalid: a header field that is given twice.
    """
    kind = operation.headers
    if kind is None:
        return None
    names = tuple(operation.header_names.values())

    def read(request: web.Request) -> Any:
        getall = request.headers.getall
        return kind(*[_once(getall(name, None), name) for name in names])

    return read


def _once(values: list[str] | None, name: str) -> str | None:
    if values is None:
        return None
    if len(values) > 1:
        raise Invalid.at(f"/{name}", "repeated", f"{name} must be given once")
    return values[0]
