"""The composition root: the only file that names backends and features."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from chatsvc import __version__, logs
from chatsvc.auth.authentication import Authentication, authentication
from chatsvc.core.errors import StoreUnavailable
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.features.connections import api as connections_api
from chatsvc.features.connections.service import ConnectionService
from chatsvc.features.conversations import api as conversations_api
from chatsvc.features.conversations.service import ConversationService
from chatsvc.features.dev_login import api as dev_login_api
from chatsvc.features.dev_login.service import DevLogin
from chatsvc.features.messages import api as messages_api
from chatsvc.features.messages.reading import MessageReader
from chatsvc.features.messages.service import AllowAll, MessageService, Policy
from chatsvc.log.local import AHEAD_SECONDS, LocalLog
from chatsvc.log.lock import DataDirLock
from chatsvc.log.reconcile import StoreState
from chatsvc.server.application import ServerOptions, build_application
from chatsvc.server.health import Check, HealthReport
from chatsvc.server.listener import LISTEN_BACKLOG, listen, url_of
from chatsvc.server.metrics import Metrics
from chatsvc.server.protocol import ProblemRunner
from chatsvc.server.websocket.context import SocketContext
from chatsvc.server.websocket.keeper import SocketKeeper
from chatsvc.server.websocket.upgrade import WebSocketEndpoint
from chatsvc.settings import Settings
from chatsvc.storage.base import MessageStore
from chatsvc.storage.history import History
from chatsvc.storage.persister import Persister, PersisterEvents, state_of
from chatsvc.storage.retention import Expiry, Retention
from chatsvc.storage.sqlite import SqliteStore
from chatsvc.wire.operation import Operation

SWITCH_SECONDS: Final = 0.0005
"""How long a thread may hold the interpreter while the log's thread waits for it."""
_STORE_START_SECONDS: Final = 5.0
_STORE_RETRY_SECONDS: Final = 1.0

_logger = structlog.get_logger("chatsvc")


def open_store(settings: Settings) -> MessageStore:
    """The store that the settings name; not opened yet.

    Raises:
        ConfigurationError: a MongoDB URI that cannot be used.
    """
    if settings.chosen_store == "mongodb":
        from chatsvc.storage.mongo import MongoStore  # a quarter of a second to import

        return MongoStore(settings.mongo_uri, settings.mongo_db, settings.mongo_collection)
    return SqliteStore(settings.data_path / "store.db")


@dataclass(frozen=True, slots=True)
class Running:
    """A service that has started: what whoever started it may want to know."""

    url: str
    settings: Settings
    authentication: Authentication

    def dev_token(self, user: str) -> str | None:
        """A token by the development login, where it is on."""
        mint = self.authentication.mint_dev
        return mint(user)[0] if mint is not None else None


async def run(
    settings: Settings,
    *,
    on_started: Callable[[Running], None] | None = None,
    policy: Policy | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then shut down in order.

    Args:
        on_started: called once requests are taken.
        policy: who may speak to whom; everybody, by default.

    Raises:
        ConfigurationError, VersionTooNew, LogDamaged: it cannot start; nothing was served.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.on_loop_exception)
    sys.setswitchinterval(SWITCH_SECONDS)
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(130)  # asked twice: the log is durable without a farewell
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    service = Service(settings, policy or AllowAll())
    try:
        running = await service.start()
        if on_started is not None:
            on_started(running)
        await stopping.wait()
    finally:
        await service.stop()


class Service:
    """Everything put together. :meth:`stop` undoes what :meth:`start` got to."""

    def __init__(self, settings: Settings, policy: Policy) -> None:
        self._settings = settings
        self._policy = policy
        self._lock = DataDirLock(settings.data_path)
        self._metrics = Metrics()
        self._hub = Hub()
        self._started = False
        self._store: MessageStore | None = None
        self._log: LocalLog | None = None
        self._persister: Persister | None = None
        self._context: SocketContext | None = None
        self._keeper: SocketKeeper | None = None
        self._runner: ProblemRunner | None = None
        self._opener: asyncio.Task[None] | None = None
        self._retention: Retention | None = None

    async def start(self) -> Running:
        """Raises what :func:`run` does."""
        settings = self._settings
        self._lock.acquire()
        who = authentication(settings)
        listener = listen(settings)
        try:
            store = self._store = open_store(settings)
            log = self._log = await self._open_log(store)
            expiry = Expiry(settings.message_retention_days, log.elapsed.older_than)
            history = History(store, log.tail, expiry=expiry)
            self._persister = self._make_persister(log, store)
            log.tail.listen(Fanout(self._hub, self._metrics.delivered.inc).accept)
            service = MessageService(
                log=log,
                policy=self._policy,
                history=history,
                client_ids=history,
                limits=settings.limits,
            )
            context = self._context = self._socket_context(log, history, service, who)
            log.tail.watch(context.tell_stored)
            log.on_new_life(context.begin_life)
            application = build_application(
                operations=self._operations(service, history, who),
                authenticate=who.verifier.verify,
                limits=settings.limits,
                health_report=self._health,
                metrics=self._metrics,
                options=ServerOptions(
                    version=__version__,
                    cors_origins=settings.cors_origins,
                    metrics_token=settings.metrics_token,
                ),
                extra_routes=[
                    web.get("/ws", WebSocketEndpoint(context).__call__, allow_head=False)
                ],
            )
            self._runner = ProblemRunner(
                application,
                observe=self._metrics.requests.observe,
                shutdown_timeout=settings.shutdown_seconds / 2,
            )
            await self._runner.setup()
            await web.SockSite(self._runner, listener, backlog=LISTEN_BACKLOG).start()
        except BaseException:
            listener.close()
            raise
        self._keeper = SocketKeeper(context)
        self._keeper.start()
        self._persister.start()
        self._opener = asyncio.create_task(_open_when_there(store), name="open store")
        self._retention = Retention(store, log.tail, expiry)
        self._retention.start()
        self._watch(log, context)
        self._started = True
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked at again
        gc.set_threshold(10_000, 50, 50)
        url = url_of(settings.host, listener)
        _logger.info(
            "started",
            url=url,
            data_dir=str(settings.data_path),
            store=settings.chosen_store,
            version=__version__,
        )
        if settings.dev_login == "anywhere":
            _logger.warning("dev_login_anywhere", meaning="whoever asks gets a token for any user")
        return Running(url, settings, who)

    async def stop(self) -> None:
        """Unready at once; sockets away; requests in flight answered; the log closed."""
        was_started, self._started = self._started, False
        settings = self._settings
        try:
            async with asyncio.timeout(settings.shutdown_seconds):
                if self._context is not None:
                    self._context.draining = True
                if self._keeper is not None:
                    await self._keeper.close_all(settings.shutdown_seconds / 4)
                    await self._keeper.stop()
                if self._runner is not None:
                    await self._runner.cleanup()
                if self._persister is not None:
                    await self._persister.stop(drain=True)
        except TimeoutError:
            _logger.warning("not everything ended in time", seconds=settings.shutdown_seconds)
        if self._opener is not None:
            self._opener.cancel()
        if self._retention is not None:
            await self._retention.stop()
        if self._log is not None:
            await self._log.close()
        if self._store is not None:
            await self._store.close()
        self._lock.release()
        if was_started:
            _logger.info("stopped")

    async def _open_log(self, store: MessageStore) -> LocalLog:
        settings = self._settings
        found: StoreState | None = None
        try:
            async with asyncio.timeout(_STORE_START_SECONDS):
                await store.open()
                found = await state_of(store)
        except (StoreUnavailable, TimeoutError) as exc:
            # Nothing needs it yet: what is sent meanwhile waits in the log.
            _logger.warning("the store is away at the start", error=str(exc) or "no answer")
        return await LocalLog.open(
            settings.data_path,
            recent_bytes=settings.recent_bytes,
            backlog_bytes=settings.backlog_bytes,
            idempotency_ms=settings.idempotency_seconds * 1000,
            idempotency_keys=settings.idempotency_max_keys,
            retention_ms=settings.log_retention_seconds * 1000,
            min_free_bytes=settings.min_free_bytes,
            store=found,
            observe=self._observe_commit,
        )

    def _observe_commit(self, records: int, seconds: float) -> None:
        self._metrics.append_batch.observe(records)
        self._metrics.commit_seconds.observe(seconds)
        self._metrics.accepted.inc(records)

    def _make_persister(self, log: LocalLog, store: MessageStore) -> Persister:
        settings = self._settings
        return Persister(
            log,
            store,
            attempts=settings.retry_attempts,
            batch=settings.store_batch,
            batch_ms=settings.store_batch_ms,
            events=_StoreEvents(self._metrics),
        )

    def _socket_context(
        self, log: LocalLog, history: History, service: MessageService, who: Authentication
    ) -> SocketContext:
        settings = self._settings
        return SocketContext(
            hub=self._hub,
            tail=log.tail,
            resumer=Resumer(
                epoch=log.epoch,
                lives=log.lives,
                tail=log.tail,
                hub=self._hub,
                backfill=history,
                most=settings.resume_max,
            ),
            submit=service.submit,
            authenticate=who.verifier.verify,
            metrics=self._metrics,
            server_name=f"chatsvc/{__version__}",
            heartbeat_seconds=settings.heartbeat_seconds,
            stall_seconds=settings.socket_stall_seconds,
            buffer_limit=settings.socket_buffer_bytes,
            max_frame=settings.max_body_bytes,
            max_content=settings.max_content,
            max_connections=settings.max_connections,
            unacked_max=settings.socket_unacked_max,
        )

    def _operations(
        self, service: MessageService, history: History, who: Authentication
    ) -> list[Operation]:
        settings, limits = self._settings, self._settings.limits
        operations = [
            *messages_api.operations(
                service, MessageReader(history=history, limits=limits), limits
            ),
            *conversations_api.operations(
                ConversationService(history=history, limits=limits), limits
            ),
            *connections_api.operations(
                ConnectionService(presence=_Presence(self._hub), limits=limits),
                limits,
                require_auth=settings.connections_require_auth,
            ),
        ]
        if who.mint_dev is not None:
            operations += dev_login_api.operations(
                DevLogin(mint=who.mint_dev, limits=limits),
                limits,
                local_only=settings.dev_login == "loopback",
            )
        return operations

    def _health(self) -> HealthReport:
        log, persister = self._log, self._persister
        assert log is not None
        assert persister is not None
        refusal, storing = log.refusal, persister.health
        checks = {
            "log": Check(status="down", detail=refusal.detail) if refusal else Check(status="ok"),
            "store": Check(status="ok")
            if storing.status == "ok"
            else Check(status="degraded", detail=storing.error),
            "clock": _clock_check(log.ahead_seconds),
        }
        worst = max((check.status for check in checks.values()), key=_SEVERITY.index)
        return HealthReport(
            status=worst,
            durability=log.durability,
            checks=checks,
            ready=self._started,
        )

    def _watch(self, log: LocalLog, context: SocketContext) -> None:
        watch = self._metrics.watch
        watch("backlog_bytes", "Accepted and not yet stored.", lambda: log.tail.unsaved_bytes)
        watch("backlog_messages", "Accepted and not yet stored.", lambda: log.tail.unsaved_count)
        watch(
            "refill_messages",
            "Stored once, and not yet in the store that is being filled again.",
            lambda: log.refill,
        )
        watch("recent_bytes", "Stored, and kept in memory.", lambda: log.tail.recent_bytes)
        watch(
            "messages_duplicate",
            "Sends under a client_id that was used already.",
            lambda: log.repeats,
            "counter",
        )
        watch(
            "idempotency_keys_forgotten_early",
            "client_ids forgotten before their time, because there were too many.",
            lambda: log.keys_forgotten_early,
            "counter",
        )
        watch("resume_replayed", "Messages replayed to resuming sockets.",
              lambda: context.resumer.replayed, "counter")  # fmt: skip
        watch("gaps", "Gaps that a resume announced.", lambda: context.resumer.gaps, "counter")
        watch("log_lines_lost", "Log lines that could not be written.", logs.lines_lost, "counter")
        watch("sockets_slow", "Sockets with unsent bytes.", lambda: len(context.slow))


def _clock_check(ahead_seconds: float) -> Check:
    if ahead_seconds <= AHEAD_SECONDS:
        return Check(status="ok")
    return Check(
        status="degraded",
        detail=f"the log's ids are {round(ahead_seconds)} seconds ahead of the clock: it is "
        "wrong, or it was; created_at of new messages is wrong until it has caught up",
    )


_SEVERITY: Final = ("ok", "degraded", "down")


class _Presence:
    """How many connections each user has; asked through a port that other gateways share."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def count(self, users: Sequence[str]) -> dict[str, int]:
        return self._hub.count(users)


class _StoreEvents(PersisterEvents):
    """Counts what the persister tells of."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def stored(self, count: int, seconds: float) -> None:
        self._metrics.store_batch.observe(count)
        self._metrics.store_seconds.observe(seconds)

    def retried(self) -> None:
        self._metrics.store_retries.inc()

    def put_aside(self, count: int) -> None:
        self._metrics.dead_letters.inc(count)


async def _open_when_there(store: MessageStore) -> None:
    """Readers need an open store before the first write comes to open it."""
    while True:
        try:
            await store.open()
        except StoreUnavailable as exc:
            _logger.debug("the store is still away", error=str(exc))
            await asyncio.sleep(_STORE_RETRY_SECONDS)
        else:
            return
