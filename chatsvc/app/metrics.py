"""Metrics that are read from other parts of the service when ``/metrics`` is requested."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatsvc import logs
from chatsvc.log.local.log import LocalLog
from chatsvc.server.http.accepting import AcceptingSite
from chatsvc.server.http.protocol import ProblemServer
from chatsvc.server.observability.metrics import Metrics
from chatsvc.server.websocket.context import SocketContext
from chatsvc.storage.history import History
from chatsvc.storage.probe import StoreProbe

_Row = tuple[str, str, Callable[[], float]]
"""Name without prefix, help text, and a function that reads the value."""


def watch_service(
    metrics: Metrics, log: LocalLog, context: SocketContext, probe: StoreProbe, history: History
) -> None:
    """Register the metrics of the log, the store and the sockets."""
    gauges: tuple[_Row, ...] = (
        (
            "backlog_bytes",
            "Bytes of messages that are accepted and not yet stored.",
            lambda: log.tail.unsaved_bytes,
        ),
        (
            "backlog_messages",
            "Messages that are accepted and not yet stored.",
            lambda: log.tail.unsaved_count,
        ),
        (
            "refill_messages",
            "Messages stored once, and not yet in the store that is being refilled.",
            lambda: log.refill,
        ),
        ("store_up", "1 while the store answers, otherwise 0.", lambda: float(probe.up)),
        ("recent_bytes", "Bytes of stored messages in memory.", lambda: log.tail.recent_bytes),
        (
            "history_waiting",
            "Reads of history that wait for the store.",
            lambda: history.queue.waiting,
        ),
        ("sockets_slow", "Sockets with unsent bytes.", lambda: len(context.slow)),
    )
    counters: tuple[_Row, ...] = (
        (
            "messages_duplicate",
            "Sends with a client_id that was used before.",
            lambda: log.repeats,
        ),
        (
            "idempotency_keys_forgotten_early",
            "client_ids removed before their time, because there were too many.",
            lambda: log.keys_forgotten_early,
        ),
        (
            "sends_over_share",
            "Sends refused because their sender has too many bytes in the backlog.",
            lambda: log.fair_share.refused,
        ),
        (
            "sends_over_new_conversations",
            "Sends refused because their sender started too many conversations.",
            lambda: log.new_conversations.refused,
        ),
        (
            "history_busy",
            "Reads of history refused because too many waited.",
            lambda: history.queue.refused,
        ),
        (
            "resume_replayed",
            "Messages replayed to sockets that resume.",
            lambda: context.resumer.replayed,
        ),
        ("gaps", "Gaps that were announced by a resume.", lambda: context.resumer.gaps),
        (
            "sockets_fell_behind",
            "Times that a live socket exceeded its maximum of unsent bytes.",
            lambda: context.resumer.fell_behind,
        ),
        ("log_lines_lost", "Log lines that could not be written.", logs.lines_lost),
    )
    _register(metrics, gauges, counters)


def watch_connections(
    metrics: Metrics, server: ProblemServer, sites: Sequence[AcceptingSite]
) -> None:
    """Register the metrics of plain HTTP connections."""
    checks = server.watch
    gauges: tuple[_Row, ...] = (
        ("http_connections", "Open HTTP connections without WebSockets.", lambda: server.open),
    )
    counters: tuple[_Row, ...] = (
        (
            "accept_pauses",
            "Times that accepting paused at a connection or descriptor limit.",
            lambda: sum(site.pauses for site in sites),
        ),
        (
            "http_refused",
            "HTTP connections refused at the limit of their address.",
            lambda: sum(site.refused for site in sites),
        ),
        (
            "http_aborted",
            "HTTP responses aborted because they were not read.",
            lambda: checks.aborted,
        ),
        (
            "http_heads_expired",
            "HTTP connections closed because the request head was not complete in time.",
            lambda: checks.heads_expired,
        ),
        (
            "http_closed_for_room",
            "Unused HTTP connections closed to admit new ones.",
            lambda: checks.closed_for_capacity,
        ),
    )
    _register(metrics, gauges, counters)


def _register(metrics: Metrics, gauges: Sequence[_Row], counters: Sequence[_Row]) -> None:
    for name, text, read in gauges:
        metrics.watch(name, text, read)
    for name, text, read in counters:
        metrics.watch(name, text, read, "counter")
