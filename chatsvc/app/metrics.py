"""Metrics that are read from other parts of the service when ``/metrics`` is requested."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatsvc import logs
from chatsvc.api.metric import Metric
from chatsvc.log.base import LogStatus
from chatsvc.server.http.accepting import AcceptingSite
from chatsvc.server.http.protocol import ProblemServer
from chatsvc.server.observability.metrics import Metrics
from chatsvc.server.websocket.parts import SocketParts
from chatsvc.storage.history.history import History
from chatsvc.storage.persister.events import PersisterEvents
from chatsvc.storage.probe import StoreProbe
from chatsvc.storage.projections.status import BuildingStatus


def service_metrics(
    log: LogStatus,
    sockets: SocketParts,
    probe: StoreProbe,
    history: History,
    building: BuildingStatus,
) -> tuple[Metric, ...]:
    """Return the metrics of the log, the store, projections, the history and the sockets."""
    return (
        *_log_metrics(log),
        Metric("store_up", "1 while the store answers, otherwise 0.", lambda: float(probe.up)),
        *_projection_metrics(building),
        *_history_metrics(history),
        *_socket_metrics(sockets),
        Metric(
            "log_lines_lost", "Log lines that could not be written.", logs.lines_lost, "counter"
        ),
    )


def _log_metrics(log: LogStatus) -> tuple[Metric, ...]:
    return (
        Metric(
            "backlog_bytes",
            "Bytes of messages that are accepted and not yet stored.",
            lambda: log.tail.unsaved_bytes,
        ),
        Metric(
            "backlog_messages",
            "Messages that are accepted and not yet stored.",
            lambda: log.tail.unsaved_count,
        ),
        Metric(
            "refill_messages",
            "Messages stored once, and not yet in the store that is being refilled.",
            lambda: log.refill,
        ),
        Metric(
            "recent_bytes", "Bytes of stored messages in memory.", lambda: log.tail.recent_bytes
        ),
        Metric(
            "idempotency_keys_forgotten_early",
            "client_ids removed before their time, because there were too many.",
            lambda: log.counts.keys_forgotten_early,
            "counter",
        ),
    )


def _projection_metrics(building: BuildingStatus) -> tuple[Metric, ...]:
    return (
        Metric(
            "projection_building",
            "1 while a projection is behind the store's watermark, otherwise 0.",
            lambda: building.building,
            label="projection",
        ),
        Metric(
            "projection_behind_seconds",
            "Seconds from the oldest record that is not folded to the store's watermark.",
            lambda: building.seconds_behind,
            label="projection",
        ),
        Metric(
            "projection_failing",
            "1 while a projection cannot be built, otherwise 0.",
            lambda: building.failing,
            label="projection",
        ),
    )


def _history_metrics(history: History) -> tuple[Metric, ...]:
    return (
        Metric(
            "history_waiting",
            "Reads of history that wait for the store.",
            lambda: history.queue.waiting,
        ),
        Metric(
            "history_busy",
            "Reads of history refused because too many waited.",
            lambda: history.queue.refused,
            "counter",
        ),
    )


def _socket_metrics(sockets: SocketParts) -> tuple[Metric, ...]:
    return (
        Metric("sockets_slow", "Sockets with unsent bytes.", lambda: len(sockets.registry.slow)),
        Metric(
            "resume_replayed",
            "Messages replayed to sockets that resume.",
            lambda: sockets.resumer.replayed,
            "counter",
        ),
        Metric(
            "gaps", "Gaps that were announced by a resume.", lambda: sockets.resumer.gaps, "counter"
        ),
        Metric(
            "sockets_fell_behind",
            "Times that a live socket exceeded its maximum of unsent bytes.",
            lambda: sockets.resumer.fell_behind,
            "counter",
        ),
    )


def connection_metrics(server: ProblemServer, sites: Sequence[AcceptingSite]) -> tuple[Metric, ...]:
    """Return the metrics of plain HTTP connections."""
    checks = server.watch
    return (
        Metric(
            "http_connections", "Open HTTP connections without WebSockets.", lambda: server.open
        ),
        Metric(
            "accept_pauses",
            "Times that accepting paused at a connection or descriptor limit.",
            lambda: sum(site.pauses for site in sites),
            "counter",
        ),
        Metric(
            "http_refused",
            "HTTP connections refused at the limit of their address.",
            lambda: sum(site.refused for site in sites),
            "counter",
        ),
        Metric(
            "http_aborted",
            "HTTP responses aborted because they were not read.",
            lambda: checks.aborted,
            "counter",
        ),
        Metric(
            "http_heads_expired",
            "HTTP connections closed because the request head was not complete in time.",
            lambda: checks.heads_expired,
            "counter",
        ),
        Metric(
            "http_closed_for_room",
            "Unused HTTP connections closed to admit new ones.",
            lambda: checks.closed_for_capacity,
            "counter",
        ),
    )


def observe_commit(metrics: Metrics) -> Callable[[int, float], None]:
    """Return a function that counts a commit of the log: its records and seconds."""

    def observe(records: int, seconds: float) -> None:
        metrics.append_batch.observe(records)
        metrics.commit_seconds.observe(seconds)
        metrics.accepted.inc(records)

    return observe


class StoreEvents(PersisterEvents):
    """Counts the events of the persister."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def stored(self, count: int, seconds: float) -> None:
        self._metrics.store_batch.observe(count)
        self._metrics.store_seconds.observe(seconds)

    def retried(self) -> None:
        self._metrics.store_retries.inc()

    def dead_lettered(self, count: int) -> None:
        self._metrics.dead_letters.inc(count)
