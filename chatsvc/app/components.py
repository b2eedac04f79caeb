"""What a service is made of: every part, built and connected, none of them started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from chatsvc import __version__
from chatsvc.api.feature import Feature, commands_of
from chatsvc.app.features import FeatureParts, features
from chatsvc.app.health import health_report
from chatsvc.app.metrics import StoreEvents, service_metrics
from chatsvc.auth.authentication import Authentication
from chatsvc.core.kinds import Kinds
from chatsvc.core.projection import Projections
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.delivery.selection import Selection
from chatsvc.delivery.subscriptions import Subscriptions
from chatsvc.features.messages.service import Policy
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding
from chatsvc.log.merging import Merging
from chatsvc.server.http.application import ServerOptions, build_application
from chatsvc.server.http.protocol import ProblemRunner
from chatsvc.server.observability.health import HealthReport
from chatsvc.server.observability.metrics import Metrics
from chatsvc.server.websocket.command_table import CommandTable
from chatsvc.server.websocket.connection_commands import connection_commands
from chatsvc.server.websocket.monitor import SocketMonitor
from chatsvc.server.websocket.options import SocketOptions
from chatsvc.server.websocket.parts import SocketParts
from chatsvc.server.websocket.upgrade import WebSocketEndpoint
from chatsvc.settings.table import Settings
from chatsvc.storage.history.history import History
from chatsvc.storage.history.repeats import Repeats
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.memberships import StoredMemberships
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.probe import StoreProbe
from chatsvc.storage.projections.builder import ProjectionBuilder
from chatsvc.storage.projections.reader import RowReader
from chatsvc.storage.retention import Expiry, Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What is opened before the components, and closed after them.

    Args:
        settings: of the service.
        policy: who may send to whom.
        authentication: verifies tokens.
        metrics: of the whole service.
        kinds: those of the records that the service knows.
        projections: whose rows the store keeps.
        store: where messages are kept.
        probe: asks whether the store answers; not started.
        log: where messages are accepted.
    """

    settings: Settings
    policy: Policy
    authentication: Authentication
    metrics: Metrics
    kinds: Kinds
    projections: Projections
    store: MessageStore
    probe: StoreProbe
    log: MessageLog


_BREAKER_SECONDS: Final = 1.0
"""How long reads fail at once after the store did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The parts that :class:`~chatsvc.app.lifecycle.Service` starts and stops."""

    persister: Persister
    retention: Retention
    builder: ProjectionBuilder
    sockets: SocketParts
    monitor: SocketMonitor
    runner: ProblemRunner


def build(resources: Resources, *, is_ready: Callable[[], bool]) -> Components:
    """Build the parts in the order in which they depend on one another, and connect them.

    Args:
        is_ready: whether the service has started and does not drain.
    """
    settings, log, store, metrics = (
        resources.settings,
        resources.log,
        resources.store,
        resources.metrics,
    )
    expiry = Expiry(settings.message_retention_days, log.older_than)
    access = StoreAccess(_BREAKER_SECONDS, store.reads_at_once)
    history = _history(resources, expiry, access)
    persister = _persister(resources)
    hub = _hub(log)
    rows = RowReader(store.projections, log.tail, resources.projections, access.ask)
    builder = ProjectionBuilder(store, log, resources.projections, moved=rows.moved)
    offered = features(_feature_parts(resources, history, rows, hub))
    own = connection_commands(resources.authentication.verifier)
    commands = CommandTable((*commands_of(offered), *own))
    sockets = _sockets(resources, history, hub, commands)
    _connect_log(resources, sockets, hub)
    report = health_report(log, persister, resources.probe, builder.status, is_ready=is_ready)
    runner = ProblemRunner(
        _application(resources, offered, sockets, commands, report),
        observe=metrics.requests.observe,
        stall_seconds=settings.socket_stall_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
    )
    own_metrics = service_metrics(log, sockets, resources.probe, history, builder.status)
    for metric in (*own_metrics, *(one for feature in offered for one in feature.metrics)):
        metrics.watch(metric)
    return Components(
        persister=persister,
        retention=Retention(store, log.tail, expiry),
        builder=builder,
        sockets=sockets,
        monitor=SocketMonitor(sockets),
        runner=runner,
    )


def _history(resources: Resources, expiry: Expiry, access: StoreAccess) -> History:
    log, store = resources.log, resources.store
    return History(
        store,
        log.tail,
        expiry=expiry,
        kinds=resources.kinds,
        memberships=StoredMemberships(log.state, log.tail, store, access),
        access=access,
    )


def _hub(log: MessageLog) -> Hub:
    state, tail = log.state, log.tail
    hub = Hub(Subscriptions(state.intervals, lambda: tail.head, state.filters))
    log.state.on_adopted(hub.resubscribe)
    return hub


def _persister(resources: Resources) -> Persister:
    settings = resources.settings
    persister = Persister(
        resources.log,
        resources.store,
        attempts=settings.retry_attempts,
        batch=settings.store_batch,
        batch_ms=settings.store_batch_ms,
        kinds=resources.kinds,
        events=StoreEvents(resources.metrics),
    )
    resources.probe.listen(lost=persister.store_lost, back=persister.store_back)
    return persister


def _feature_parts(
    resources: Resources, history: History, rows: RowReader, hub: Hub
) -> FeatureParts:
    settings = resources.settings
    deciding = Deciding(resources.log)
    return FeatureParts(
        log=resources.log,
        deciding=deciding,
        merging=Merging(deciding),
        history=history,
        memberships=history.memberships,
        repeats=Repeats(resources.log, history, history.records),
        rows=rows,
        presence=_Presence(hub),
        policy=resources.policy,
        limits=settings.limits,
        mint_dev_token=resources.authentication.mint_dev,
        dev_login_local_only=settings.dev_login == "loopback",
        connections_require_auth=settings.connections_require_auth,
    )


def _application(
    resources: Resources,
    offered: tuple[Feature, ...],
    sockets: SocketParts,
    commands: CommandTable,
    report: Callable[[], HealthReport],
) -> web.Application:
    settings = resources.settings
    return build_application(
        features=offered,
        commands=commands.commands,
        authenticator=resources.authentication.verifier,
        limits=settings.limits,
        health_report=report,
        metrics=resources.metrics,
        options=ServerOptions(
            version=__version__,
            cors_origins=settings.cors_origins,
            cors_headers=settings.cors_headers,
            metrics_token=settings.metrics_token,
        ),
        extra_routes=[web.get("/ws", WebSocketEndpoint(sockets).__call__, allow_head=False)],
    )


def _connect_log(resources: Resources, sockets: SocketParts, hub: Hub) -> None:
    """Deliver what the log accepts, and tell sockets what is stored and of new epochs."""
    fanout = Fanout(
        hub,
        Selection(resources.kinds, hub.subscriptions.filters),
        resources.log.acknowledgements,
        sockets.resumer.take_over,
        resources.metrics.delivered.inc,
    )
    resources.log.tail.listen(fanout.accept)
    resources.log.tail.watch(sockets.receipts.stored)
    resources.log.on_new_epoch(sockets.registry.begin_epoch)


def _sockets(
    resources: Resources, history: History, hub: Hub, commands: CommandTable
) -> SocketParts:
    settings, log = resources.settings, resources.log
    resumer = Resumer(
        epoch=log.epoch,
        epochs=log.epochs,
        tail=log.tail,
        hub=hub,
        backfill=history.records,
        selection=Selection(resources.kinds, hub.subscriptions.filters),
        max_messages=settings.resume_max,
        intervals_of=log.state.intervals,
        filters_of=log.state.filters,
    )
    return SocketParts(
        commands=commands,
        options=SocketOptions(
            heartbeat_seconds=settings.heartbeat_seconds,
            stall_seconds=settings.socket_stall_seconds,
            buffer_limit=settings.socket_buffer_bytes,
            max_frame=settings.max_body_bytes,
            max_content=settings.max_content,
            max_connections=settings.max_connections,
            max_connections_per_user=settings.max_connections_per_user,
            unacked_max=settings.socket_unacked_max,
            server_name=f"chatsvc/{__version__}",
        ),
        hub=hub,
        tail=log.tail,
        acknowledgements=log.acknowledgements,
        resumer=resumer,
        authenticator=resources.authentication.verifier,
        metrics=resources.metrics,
    )


class _Presence:
    """Counts the connections of users in the hub of this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def count(self, users: Sequence[str]) -> dict[str, int]:
        return self._hub.count(users)
