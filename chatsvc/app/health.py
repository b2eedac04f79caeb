"""The report behind ``/health``: what each part of the service says of itself."""

from __future__ import annotations

from collections.abc import Callable

from chatsvc.log.base import AHEAD_SECONDS, LogStatus
from chatsvc.server.observability.health import Check, HealthReport
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.probe import StoreProbe
from chatsvc.storage.projections.status import BuildingStatus

_SEVERITY = ("ok", "degraded", "down")


def health_report(
    log: LogStatus,
    persister: Persister,
    probe: StoreProbe,
    building: BuildingStatus,
    *,
    is_ready: Callable[[], bool],
) -> Callable[[], HealthReport]:
    """Return a function that asks each part; fast, and never waits.

    Args:
        is_ready: whether the service has started and does not drain.
    """

    def report() -> HealthReport:
        checks = {
            "log": _log_check(log),
            "store": _store_check(persister, probe),
            "clock": _clock_check(log.ahead_seconds),
        }
        if building:
            checks["projections"] = _projections_check(building)
        worst = max((check.status for check in checks.values()), key=_SEVERITY.index)
        return HealthReport(
            status=worst, durability=log.durability, checks=checks, ready=is_ready()
        )

    return report


def _log_check(log: LogStatus) -> Check:
    refusal = log.refusal
    return Check(status="down", detail=refusal.detail) if refusal else Check(status="ok")


def _store_check(persister: Persister, probe: StoreProbe) -> Check:
    storing = persister.health
    if storing.status != "ok":
        return Check(status="degraded", detail=storing.error)
    if probe.error is not None:
        return Check(status="degraded", detail=probe.error)
    return Check(status="ok")


def _projections_check(building: BuildingStatus) -> Check:
    problem = building.problem
    return Check(status="degraded", detail=problem) if problem else Check(status="ok")


def _clock_check(ahead_seconds: float) -> Check:
    if ahead_seconds <= AHEAD_SECONDS:
        return Check(status="ok")
    return Check(
        status="degraded",
        detail=f"the log's ids are {round(ahead_seconds)} seconds ahead of the clock: the clock "
        "is or was wrong; created_at of new messages is wrong until the clock has caught up",
    )
