"""The aiohttp application: every route, and the middleware around them."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from chatsvc.api.command import Command
from chatsvc.api.feature import Feature, operations_of
from chatsvc.auth.principal import Authenticator
from chatsvc.core.errors import Unauthorized
from chatsvc.core.limits import Limits
from chatsvc.server.http.decoding import bearer_token
from chatsvc.server.http.loopback import check_local
from chatsvc.server.http.middleware import EXCHANGE, Cors, exchange_middleware
from chatsvc.server.http.operations import route
from chatsvc.server.http.protocol import CORS, DIRECT
from chatsvc.server.http.responses import ReadyResponse
from chatsvc.server.observability import health
from chatsvc.server.observability.health import HealthReport
from chatsvc.server.observability.metrics import CONTENT_TYPE, Metrics
from chatsvc.server.schema import docs_page
from chatsvc.server.schema.documents import documents


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that concern only HTTP.

    ``metrics_token`` empty: ``/metrics`` is only for this machine. ``cors_origins`` empty: no
    page of another origin may call.
    """

    version: str
    cors_origins: tuple[str, ...] = ()
    cors_headers: tuple[str, ...] = ()
    metrics_token: str = ""


def build_application(
    *,
    features: Sequence[Feature],
    commands: Sequence[Command],
    authenticator: Authenticator,
    limits: Limits,
    health_report: Callable[[], HealthReport],
    metrics: Metrics,
    options: ServerOptions,
    extra_routes: Iterable[web.AbstractRouteDef] = (),
) -> web.Application:
    """Build the application, for :class:`~chatsvc.server.http.protocol.ProblemRunner`.

    Args:
        features: what is served beside health, metrics and the documents.
        commands: all those of the sockets, for their document.
        health_report: called for each request about health.
        extra_routes: the route of the WebSocket.
    """
    operations = (*operations_of(features), *health.operations(health_report, options.version))
    cors = Cors(options.cors_origins, options.cors_headers) if options.cors_origins else None
    around = exchange_middleware(observe=metrics.requests.observe, cors=cors)
    application = web.Application(middlewares=[around], client_max_size=limits.body_bytes)
    if cors is not None:
        application[CORS] = cors
    origins = frozenset(options.cors_origins)
    paths = sorted({one.path for one in operations})
    routes = [route(one, authenticator, limits, origins, around, paths) for one in operations]
    application.add_routes(routes)
    direct: dict[tuple[str, str], Handler] = {
        (one.method, one.path): partial(around, handler=one.handler)
        for one in routes
        if "{" not in one.path
    }
    application[DIRECT] = direct
    served = documents(
        features=features, operations=operations, commands=commands, version=options.version
    )
    application.add_routes(
        [
            _document("/", _pointer(options.version)),
            *(_document(f"/{name}", document) for name, document in served.items()),
            web.get("/metrics", _metrics(metrics, options.metrics_token)),
            *docs_page.routes(),
            *extra_routes,
        ]
    )
    return application


def _pointer(version: str) -> bytes:
    return msgspec.json.encode(
        {
            "name": "chatsvc",
            "version": version,
            "docs": "/docs",
            "openapi": "/openapi.json",
            "asyncapi": "/asyncapi.json",
            "socket": "/ws",
        }
    )


def _document(path: str, body: bytes) -> web.RouteDef:
    async def handle(request: web.Request) -> web.StreamResponse:
        return ReadyResponse(200, body)

    return web.get(path, handle)


def _metrics(
    metrics: Metrics, token: str
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        request[EXCHANGE].quiet = True
        if token:
            if not hmac.compare_digest(bearer_token(request).encode(), token.encode()):
                raise Unauthorized("the token must be that of METRICS_TOKEN")
        else:
            check_local(request)
        text = None if request.method == "HEAD" else metrics.render()
        return ReadyResponse(200, text, content_type=CONTENT_TYPE)

    return handle
