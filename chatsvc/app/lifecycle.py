"""The composition root: the only module that names backends and features."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from chatsvc import __version__
from chatsvc.api.operation import Operation
from chatsvc.app.metrics import watch_connections, watch_service
from chatsvc.auth.authentication import Authentication, authentication
from chatsvc.core.errors import ChatError, StoreUnavailable
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
from chatsvc.features.messages.channels import ConversationSender
from chatsvc.features.messages.reading import MessageReader
from chatsvc.features.messages.service import MessageService, Policy
from chatsvc.log.local.lock import DataDirLock
from chatsvc.log.local.log import AHEAD_SECONDS, LocalLog
from chatsvc.log.reconcile import StoreState
from chatsvc.server.http.accepting import accept_on
from chatsvc.server.http.application import ServerOptions, build_application
from chatsvc.server.http.connection_limits import connection_limits, open_files_limit
from chatsvc.server.http.listener import listen, url_of
from chatsvc.server.http.protocol import ProblemRunner
from chatsvc.server.observability.health import Check, HealthReport
from chatsvc.server.observability.metrics import Metrics
from chatsvc.server.websocket.context import SocketContext
from chatsvc.server.websocket.monitor import SocketMonitor
from chatsvc.server.websocket.upgrade import WebSocketEndpoint
from chatsvc.settings.table import Settings
from chatsvc.storage.history import History
from chatsvc.storage.past import learn_past
from chatsvc.storage.persister import Persister
from chatsvc.storage.persister_events import PersisterEvents
from chatsvc.storage.ports import MessageStore
from chatsvc.storage.probe import StoreProbe
from chatsvc.storage.retention import Expiry, Retention
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.store_state import state_of

_STORE_START_SECONDS: Final = 5.0

_logger = structlog.get_logger("chatsvc")


def open_store(settings: Settings) -> MessageStore:
    """Return the store that the settings name, not opened yet.

    Raises:
        ConfigurationError: the MongoDB URI cannot be used.
    """
    if settings.chosen_store == "mongodb":
        from chatsvc.storage.mongo.store import MongoStore  # a quarter of a second to import

        return MongoStore(settings.mongo_uri, settings.mongo_db, settings.mongo_collection)
    return SqliteStore(settings.data_path / "store.db")


@dataclass(frozen=True, slots=True)
class Running:
    """A service that has started: its address and its settings."""

    url: str
    settings: Settings
    authentication: Authentication

    def dev_token(self, user: str) -> str | None:
        """Return a token of the development login, or ``None`` if it is off."""
        mint = self.authentication.mint_dev
        return mint(user)[0] if mint is not None else None


class Service:
    """The whole service; :meth:`stop` releases whatever :meth:`start` has acquired."""

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
        self._monitor: SocketMonitor | None = None
        self._runner: ProblemRunner | None = None
        self._probe: StoreProbe | None = None
        self._retention: Retention | None = None

    async def start(self) -> Running:
        """Start the service, in the order in which the parts depend on each other.

        Raises:
            ConfigurationError, VersionTooNew, LogDamaged: the service cannot start.
        """
        settings = self._settings
        self._lock.acquire()
        who = authentication(settings)
        listeners = listen(settings)
        try:
            store = self._store = open_store(settings)
            probe = self._probe = StoreProbe(store)
            log = self._log = await self._open_log(store, probe)
            expiry = Expiry(settings.message_retention_days, log.elapsed.older_than)
            history = History(store, log.tail, expiry=expiry, reads_at_once=store.reads_at_once)
            persister = self._persister = self._make_persister(log, store)
            probe.listen(lost=persister.store_lost, back=persister.store_back)
            service = MessageService(
                log=log,
                policy=self._policy,
                client_ids=history,
                limits=settings.limits,
            )
            sender = ConversationSender(service=service, lookup=history, limits=settings.limits)
            context = self._context = self._socket_context(log, history, sender, who)
            fanout = Fanout(self._hub, context.resumer.take_over, self._metrics.delivered.inc)
            log.tail.listen(fanout.accept)
            log.tail.watch(context.notify_stored)
            log.on_new_epoch(context.begin_epoch)
            application = build_application(
                operations=self._operations(sender, history, who),
                authenticator=who.verifier,
                limits=settings.limits,
                health_report=self._health,
                metrics=self._metrics,
                options=ServerOptions(
                    version=__version__,
                    cors_origins=settings.cors_origins,
                    cors_headers=settings.cors_headers,
                    metrics_token=settings.metrics_token,
                ),
                extra_routes=[
                    web.get("/ws", WebSocketEndpoint(context).__call__, allow_head=False)
                ],
            )
            runner = self._runner = ProblemRunner(
                application,
                observe=self._metrics.requests.observe,
                shutdown_timeout=settings.shutdown_seconds / 2,
                stall_seconds=settings.socket_stall_seconds,
                keep_alive_seconds=settings.keep_alive_seconds,
            )
            await runner.setup()
            sites = await accept_on(
                runner,
                listeners,
                sockets=lambda: len(context.sockets),
                limits=connection_limits(
                    settings.max_http_connections,
                    settings.max_http_connections_per_address,
                    open_files_limit(),
                ),
            )
        except BaseException:
            for listener in listeners:
                listener.close()
            raise
        self._monitor = SocketMonitor(context)
        self._monitor.start()
        self._persister.start()
        probe.start()
        self._retention = Retention(store, log.tail, expiry)
        self._retention.start()
        watch_service(self._metrics, log, context, probe, history)
        watch_connections(self._metrics, runner.problem_server, sites)
        self._started = True
        gc.collect()
        gc.freeze()  # objects that live as long as the process need not be collected
        gc.set_threshold(10_000, 50, 50)
        url = url_of(settings.host, listeners[0])
        _logger.info(
            "started",
            url=url,
            data_dir=str(settings.data_path),
            store=settings.chosen_store,
            version=__version__,
        )
        if settings.dev_login == "anywhere":
            _logger.warning(
                "dev_login_anywhere", meaning="every client can get a token for any user"
            )
        return Running(url, settings, who)

    async def stop(self) -> None:
        """Shut down in order.

        The service is unready at once. After the drain time sockets are closed, requests in
        progress are answered, and the log and the store are closed.
        """
        was_started, self._started = self._started, False
        settings = self._settings
        try:
            async with asyncio.timeout(settings.shutdown_seconds):
                if was_started:
                    # A load balancer sees that the service is not ready, and stops routing.
                    await asyncio.sleep(settings.drain_seconds)
                if self._context is not None:
                    self._context.draining = True
                if self._monitor is not None:
                    await self._monitor.close_all(settings.shutdown_seconds / 4)
                    await self._monitor.stop()
                if self._runner is not None:
                    await self._runner.cleanup()
                if self._persister is not None:
                    await self._persister.stop(drain=True)
        except TimeoutError:
            _logger.warning("shutdown_timed_out", seconds=settings.shutdown_seconds)
        if self._probe is not None:
            await self._probe.stop()
        if self._retention is not None:
            await self._retention.stop()
        if self._log is not None:
            await self._log.close()
        if self._store is not None:
            await self._store.close()
        self._lock.release()
        if was_started:
            _logger.info("stopped")

    async def _open_log(self, store: MessageStore, probe: StoreProbe) -> LocalLog:
        settings = self._settings
        found: StoreState | None = None
        try:
            async with asyncio.timeout(_STORE_START_SECONDS):
                await store.open()
                found = await state_of(store)
                probe.answered()
        except (StoreUnavailable, TimeoutError) as exc:
            # The start does not need the store: messages wait in the log.
            _logger.warning("store_unavailable_at_start", error=str(exc) or "no answer")
        except ChatError:
            raise
        except Exception:  # an error of the store must not prevent that sends are accepted
            found = None
            _logger.exception("store_failed_at_start")
        log = await LocalLog.open(
            settings.data_path,
            recent_bytes=settings.recent_bytes,
            backlog_bytes=settings.backlog_bytes,
            idempotency_ms=settings.idempotency_seconds * 1000,
            idempotency_keys=settings.idempotency_max_keys,
            idempotency_keys_per_sender=settings.idempotency_keys_per_sender,
            retention_ms=settings.log_retention_seconds * 1000,
            min_free_bytes=settings.min_free_bytes,
            store=found,
            new_conversations=settings.max_new_conversations_per_hour,
            observe=self._observe_commit,
        )
        if found is not None:
            try:
                async with asyncio.timeout(_STORE_START_SECONDS):
                    await learn_past(log, store)
            except (StoreUnavailable, TimeoutError) as exc:
                _logger.warning("store_past_unknown", error=str(exc) or "no answer")
        return log

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
        self, log: LocalLog, history: History, sender: ConversationSender, who: Authentication
    ) -> SocketContext:
        settings = self._settings
        return SocketContext(
            hub=self._hub,
            tail=log.tail,
            resumer=Resumer(
                epoch=log.epoch,
                epochs=log.epochs,
                tail=log.tail,
                hub=self._hub,
                backfill=history,
                max_messages=settings.resume_max,
            ),
            submit=sender.submit,
            authenticate=who.verifier.verify,
            metrics=self._metrics,
            server_name=f"chatsvc/{__version__}",
            heartbeat_seconds=settings.heartbeat_seconds,
            stall_seconds=settings.socket_stall_seconds,
            buffer_limit=settings.socket_buffer_bytes,
            max_frame=settings.max_body_bytes,
            max_content=settings.max_content,
            max_connections=settings.max_connections,
            max_connections_per_user=settings.max_connections_per_user,
            unacked_max=settings.socket_unacked_max,
        )

    def _operations(
        self, sender: ConversationSender, history: History, who: Authentication
    ) -> list[Operation]:
        settings, limits = self._settings, self._settings.limits
        operations = [
            *messages_api.operations(sender, MessageReader(history=history, limits=limits), limits),
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
        log, persister, probe = self._log, self._persister, self._probe
        assert log is not None
        assert persister is not None
        assert probe is not None
        refusal, storing = log.refusal, persister.health
        trouble = storing.error if storing.status != "ok" else probe.error
        checks = {
            "log": Check(status="down", detail=refusal.detail) if refusal else Check(status="ok"),
            "store": Check(status="degraded", detail=trouble)
            if trouble is not None or storing.status != "ok"
            else Check(status="ok"),
            "clock": _clock_check(log.ahead_seconds),
        }
        worst = max((check.status for check in checks.values()), key=_SEVERITY.index)
        return HealthReport(
            status=worst,
            durability=log.durability,
            checks=checks,
            ready=self._started,
        )


def _clock_check(ahead_seconds: float) -> Check:
    if ahead_seconds <= AHEAD_SECONDS:
        return Check(status="ok")
    return Check(
        status="degraded",
        detail=f"the log's ids are {round(ahead_seconds)} seconds ahead of the clock: the clock "
        "is or was wrong; created_at of new messages is wrong until the clock has caught up",
    )


_SEVERITY: Final = ("ok", "degraded", "down")


class _Presence:
    """Counts the connections of users in the hub of this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def count(self, users: Sequence[str]) -> dict[str, int]:
        return self._hub.count(users)


class _StoreEvents(PersisterEvents):
    """Counts the events of the persister in metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def stored(self, count: int, seconds: float) -> None:
        self._metrics.store_batch.observe(count)
        self._metrics.store_seconds.observe(seconds)

    def retried(self) -> None:
        self._metrics.store_retries.inc()

    def dead_lettered(self, count: int) -> None:
        self._metrics.dead_letters.inc(count)
