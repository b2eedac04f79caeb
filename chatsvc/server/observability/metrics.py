"""The metrics, and their text for Prometheus.

The layers below do not import this: the composition root passes them ``inc`` and ``observe``
functions, or registers their own counters with :meth:`Metrics.watch`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from chatsvc.api.metric import Metric as DeclaredMetric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COMMIT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 5000)

_LE: Final = {**{bound: str(bound) for bound in SECONDS}, float("inf"): "+Inf"}


class RequestStats(Collector):
    """Requests by method, route and status, with their durations.

    Plain numbers that become samples when metrics are read: a request costs one dictionary
    lookup and three additions.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, int], list[float]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. ``route`` is a pattern, so there are few different ones."""
        row = self._rows.get((method, route, status))
        if row is None:
            row = self._rows[method, route, status] = [0.0] * (len(SECONDS) + 2)
        row[bisect_left(SECONDS, seconds)] += 1
        row[-1] += seconds

    def collect(self) -> Iterable[Metric]:
        """Return the histogram, whose count is the number of requests."""
        family = HistogramMetricFamily(
            "chatsvc_http_request_duration_seconds",
            "HTTP requests by method, route and status, and how long they took.",
            labels=["method", "route", "status"],
        )
        for (method, route, status), row in list(self._rows.items()):
            total = 0.0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*SECONDS, float("inf")), row, strict=False):
                total += count
                buckets.append((_LE[bound], total))
            family.add_metric([method, route, str(status)], buckets, sum_value=row[-1])
        yield family


class _Watched(Collector):
    def __init__(self) -> None:
        self.metrics: list[DeclaredMetric] = []

    def collect(self) -> Iterable[Metric]:
        for metric in self.metrics:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            labels = () if metric.label is None else (metric.label,)
            family = kind(f"chatsvc_{metric.name}", metric.text, labels=labels)
            found = metric.read()
            if isinstance(found, Mapping):
                for value, number in found.items():
                    family.add_metric([value], number)
            else:
                family.add_metric([], found)
            yield family


class Metrics:
    """Every metric of the service; nothing global.

    Args:
        registry: where they are registered; a new one by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = RequestStats()
        registry.register(self.requests)
        self._watched = _Watched()
        registry.register(self._watched)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"chatsvc_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"chatsvc_{name}", text, buckets=buckets, registry=registry)

        self.accepted = counter("messages_accepted", "Messages that were acknowledged as new.")
        self.delivered = counter("messages_delivered", "Messages written to a socket.")
        self.connections = Gauge("chatsvc_connections", "Open WebSockets.", registry=registry)
        self.disconnects = counter("disconnects", "WebSockets closed, by reason.", ("reason",))
        self.sockets_aborted = counter(
            "sockets_aborted", "Sockets cut off because they did not read."
        )
        self.append_batch = histogram("log_append_batch", "Records a commit of the log.", BATCH)
        self.commit_seconds = histogram(
            "log_commit_seconds", "How long a commit of the log takes, fsync included.",
            COMMIT_SECONDS,
        )  # fmt: skip
        self.store_batch = histogram("store_batch", "Records a batch of the store.", BATCH)
        self.store_seconds = histogram("store_write_seconds", "How long a batch takes.", SECONDS)
        self.store_retries = counter("store_retries", "Batches that were tried again.")
        self.dead_letters = counter("dead_letters", "Records stored as dead letters.")

    def socket_opened(self) -> None:
        """Count an opened WebSocket."""
        self.connections.inc()

    def socket_closed(self, reason: str) -> None:
        """Count a closed WebSocket.

        ``reason`` is never the peer's text; its first word is one of a few.
        """
        self.connections.dec()
        self.disconnects.labels(reason.partition(" ")[0]).inc()
        if reason == "stalled":
            self.sockets_aborted.inc()

    def watch(self, metric: DeclaredMetric) -> None:
        """Export a number of another component; it is read when metrics are read."""
        self._watched.metrics.append(metric)

    def render(self) -> bytes:
        """Return the metrics in the text format, version 0.0.4."""
        return generate_latest(self.registry)
