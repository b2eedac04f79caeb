"""What operators see of messages."""

from __future__ import annotations

from chatsvc.api.metric import Metric
from chatsvc.log.base import LogStatus


def metrics(log: LogStatus) -> tuple[Metric, ...]:
    """Return the metrics of sends."""
    return (
        Metric(
            "messages_duplicate",
            "Sends with a client_id that was used before.",
            lambda: log.counts.repeats,
            "counter",
        ),
        Metric(
            "sends_over_share",
            "Sends refused because their sender has too many bytes in the backlog.",
            lambda: log.counts.over_share,
            "counter",
        ),
        Metric(
            "sends_over_new_conversations",
            "Sends refused because their sender started too many conversations.",
            lambda: log.counts.over_new_conversations,
            "counter",
        ),
    )
