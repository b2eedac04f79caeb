"""``/docs``: the OpenAPI document as a page, from files of the package; no other host is asked.

Its links are relative, so that it works under whatever prefix a proxy serves it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

_STATIC: Final = Path(__file__).with_name("static")
_PAGE: Final = _STATIC / "docs.html"
_ASSETS: Final = {
    "docs.js": _STATIC / "docs.js",
    "swagger-ui.css": _STATIC / "swagger-ui" / "swagger-ui.css",
    "swagger-ui-bundle.js": _STATIC / "swagger-ui" / "swagger-ui-bundle.js",
    "favicon-32x32.png": _STATIC / "swagger-ui" / "favicon-32x32.png",
}
_HEADERS: Final = {
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


def routes() -> list[web.RouteDef]:
    """The page and its assets."""
    return [web.get("/docs", _page), *(web.get(f"/docs/{name}", _asset) for name in _ASSETS)]


async def _page(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(_PAGE, headers=_HEADERS)


async def _asset(request: web.Request) -> web.StreamResponse:
    name = request.path.rpartition("/")[2]
    return web.FileResponse(_ASSETS[name], headers=_HEADERS)
