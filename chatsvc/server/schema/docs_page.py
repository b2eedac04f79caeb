"""``/docs``: the OpenAPI document as a page, from files of the package, without other hosts.

The files are read once and cached: a response then needs no descriptor and no thread, however
slowly it is read, and all responses share the same bytes. The links are relative, so that the
page works under any prefix of a proxy.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

from chatsvc.server.http.responses import ReadyResponse, header_lines

_STATIC: Final = Path(__file__).with_name("static")
_SWAGGER: Final = _STATIC / "swagger-ui"
_FILES: Final = {
    "/docs": (_STATIC / "docs.html", "text/html; charset=utf-8"),
    "/docs/docs.js": (_STATIC / "docs.js", "text/javascript; charset=utf-8"),
    "/docs/swagger-ui.css": (_SWAGGER / "swagger-ui.css", "text/css; charset=utf-8"),
    "/docs/swagger-ui-bundle.js": (
        _SWAGGER / "swagger-ui-bundle.js",
        "text/javascript; charset=utf-8",
    ),
    "/docs/favicon-32x32.png": (_SWAGGER / "favicon-32x32.png", "image/png"),
}
_LINES: Final = header_lines(
    {
        # Swagger UI sets style attributes and shows images of its own as data: URLs.
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
)


class _File(NamedTuple):
    body: bytes
    etag: str
    content_type: str


def routes() -> list[web.RouteDef]:
    """Return the routes of the page and its assets."""
    return [web.get(path, _answer) for path in _FILES]


@cache
def _file(path: str) -> _File:
    place, content_type = _FILES[path]
    body = place.read_bytes()
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    return _File(body, etag, content_type)


async def _answer(request: web.Request) -> web.StreamResponse:
    file = _file(request.path)
    known = [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]
    fixed = f"{_LINES}ETag: {file.etag}\r\n"
    if file.etag in known or f"W/{file.etag}" in known:  # RFC 9110 §13.1.2
        return ReadyResponse(304, b"", content_type=file.content_type, fixed=fixed)
    return ReadyResponse(200, file.body, content_type=file.content_type, fixed=fixed)
