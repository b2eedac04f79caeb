"""Request lines beyond what aiohttp's parser checks: version and absolute form.

A target in absolute form names the host, whatever ``Host`` says (RFC 9112 §3.2.2). Such a
request is rewritten to origin form, with the target's authority as its ``Host``, so that
everything behind this sees one form and one host.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from chatsvc.server.aiohttp_internals import with_target

_ABSOLUTE: Final = re.compile(r"https?://([^/?#@]+)(/[^?#]*)?(?:\?([^#]*))?\Z", re.IGNORECASE)
_UNKNOWN_VERSION: Final = re.compile(r"\s*Bad status line:\s*Invalid HTTP version")


class BadTarget(HttpProcessingError):
    """A target in absolute form with another scheme, with user information or with no host."""

    code = 400
    message = "the target is wrong"


class UnsupportedVersion(HttpProcessingError):
    """A version of HTTP whose major number is not 1."""

    code = 505
    message = "the version is not supported"


def to_origin_form(message: RawRequestMessage) -> RawRequestMessage:
    """Return the request with its target in origin form; ``*`` and CONNECT stay as they are.

    Raises:
        BadTarget: its target must not be used.
        UnsupportedVersion: it is of another version than HTTP/1.
    """
    if message.version.major != 1:
        raise UnsupportedVersion
    path = message.path
    if path.startswith("/") or path == "*" or message.method == "CONNECT":
        return message
    match = _ABSOLUTE.match(path)
    if match is None:
        raise BadTarget
    authority, path, query = match[1], match[2] or "/", match[3]
    headers = CIMultiDict(message.headers)
    headers["Host"] = authority
    return with_target(
        message,
        path=path if query is None else f"{path}?{query}",
        url=URL.build(path=path, query_string=query or "", encoded=True),
        headers=CIMultiDictProxy(headers),
    )


def is_unsupported_version(exc: HttpProcessingError) -> bool:
    """Return whether a request is refused for its version, here or by the parser itself."""
    if isinstance(exc, BadStatusLine):
        return _UNKNOWN_VERSION.match(exc.message) is not None
    return isinstance(exc, UnsupportedVersion)
