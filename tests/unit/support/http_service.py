"""The HTTP side over a log in memory, on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from chatsvc.api.feature import commands_of
from chatsvc.app.features import FeatureParts, features
from chatsvc.core.limits import Limits
from chatsvc.core.projection import NO_PROJECTIONS
from chatsvc.features.messages.service import AllowAll, Policy
from chatsvc.log.deciding import Deciding
from chatsvc.log.merging import Merging
from chatsvc.server.http.application import ServerOptions, build_application
from chatsvc.server.http.protocol import ProblemRunner, ProblemServer
from chatsvc.server.observability.health import Check, HealthReport
from chatsvc.server.observability.metrics import Metrics
from chatsvc.server.websocket.connection_commands import connection_commands
from chatsvc.storage.history.memberships import NO_MEMBERSHIPS
from chatsvc.storage.history.repeats import Repeats
from chatsvc.storage.ports.projections import StoredRows
from chatsvc.storage.projections.reader import RowReader
from testkit.authenticator import FakeAuthenticator, named_by_token
from testkit.memory_store import MemoryStore
from tests.unit.support.fake_log import FakeHistory, FakeLog


def _mint(user: str) -> tuple[str, int]:
    return f"token-of-{user}", 4_102_444_800


async def _ask_at_once(user: str, call: Callable[[], Awaitable[StoredRows]]) -> StoredRows:
    return await call()


def _no_rows(log: FakeLog) -> RowReader:
    return RowReader(MemoryStore().projections, log.tail, NO_PROJECTIONS, _ask_at_once)


class FakePresence:
    """Who is said to be connected."""

    def __init__(self) -> None:
        self.open = {"alice": 2}

    async def count(self, users: Sequence[str]) -> dict[str, int]:
        return {user: self.open.get(user, 0) for user in users}


class HttpService:
    """Everything that a test may want to look into or to change."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        policy: Policy | None = None,
        options: ServerOptions | None = None,
        connections_need_token: bool = False,
        dev_login: bool = True,
        extra_routes: Sequence[web.AbstractRouteDef] = (),
        stall_seconds: float = 10.0,
    ) -> None:
        self.stall_seconds = stall_seconds
        self.limits = limits or Limits()
        self.log = FakeLog()
        self.history = FakeHistory(self.log)
        self.metrics = Metrics()
        self.presence = FakePresence()
        self.health = HealthReport(
            status="ok", durability="none", checks={"log": Check(status="ok")}, ready=True
        )
        self.features = features(
            self._parts(policy, dev_login=dev_login, public_connections=not connections_need_token)
        )
        self.commands = (
            *commands_of(self.features),
            *connection_commands(FakeAuthenticator(named_by_token)),
        )
        self.application = build_application(
            features=self.features,
            commands=self.commands,
            authenticator=FakeAuthenticator(named_by_token),
            limits=self.limits,
            health_report=lambda: self.health,
            metrics=self.metrics,
            options=options or ServerOptions(version="0.0.0"),
            extra_routes=extra_routes,
        )
        self.port = 0
        self.server: ProblemServer | None = None

    def _parts(
        self, policy: Policy | None, *, dev_login: bool, public_connections: bool
    ) -> FeatureParts:
        self.log.tail.listen(self.log.state.fold_members)
        deciding = Deciding(self.log)
        return FeatureParts(
            log=self.log,
            deciding=deciding,
            merging=Merging(deciding),
            history=self.history,  # type: ignore[arg-type]
            memberships=NO_MEMBERSHIPS,
            repeats=Repeats(self.log, self.history, self.history),
            rows=_no_rows(self.log),
            presence=self.presence,
            policy=policy or AllowAll(),
            limits=self.limits,
            mint_dev_token=_mint if dev_login else None,
            dev_login_local_only=True,
            connections_require_auth=not public_connections,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> web.AppRunner:
        runner = ProblemRunner(
            self.application,
            observe=self.metrics.requests.observe,
            stall_seconds=self.stall_seconds,
        )
        await runner.setup()
        self.server = runner.problem_server
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return runner


class Client:
    """Requests as one user."""

    def __init__(self, session: aiohttp.ClientSession, service: HttpService) -> None:
        self.session = session
        self.service = service

    async def call(
        self,
        method: str,
        path: str,
        *,
        user: str | None = "alice",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        """``user`` ``None``: without a token."""
        sent = {} if user is None else {"Authorization": f"Bearer token-of-{quote(user)}"}
        async with self.session.request(
            method, self.service.url + path, headers=sent | (headers or {}), **options
        ) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def send(self, *participants: str, content: str = "hello", **more: Any) -> Answer:
        """As the first participant."""
        headers = more.pop("headers", None)
        body = {"participants": list(participants), "content": content, **more}
        return await self.call(
            "POST", "/api/messages", user=participants[0], json=body, headers=headers
        )


class Answer:
    """Status, header fields and body of a response."""

    def __init__(self, status: int, headers: CIMultiDict[str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.body)


@asynccontextmanager
async def running(service: HttpService) -> AsyncIterator[Client]:
    """The service on a port of its own, and a client of it."""
    runner = await service.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(session, service)
    finally:
        await runner.cleanup()
