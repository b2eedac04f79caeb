"""``/health``: whether sends are accepted, the state of dependencies, and readiness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from chatsvc.api.access import ANYBODY, Caller
from chatsvc.api.operation import Operation, Reply


class Check(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The state of one dependency. ``detail`` never has an address or a credential."""

    status: Literal["ok", "degraded", "down"]
    detail: str | None = None


class HealthReport(msgspec.Struct, kw_only=True):
    """The state that the composition root reports.

    ``status`` is ``down`` while sends are refused. ``ready``: started and not draining; it
    does not depend on other services.
    """

    status: Literal["ok", "degraded", "down"]
    durability: str
    checks: Mapping[str, Check]
    ready: bool


class Health(msgspec.Struct, kw_only=True):
    """The response; 503 while ``down``. ``durability`` is that of a 201, for example ``fsync``."""

    status: Literal["ok", "degraded", "down"]
    durability: str
    checks: dict[str, Check]
    version: str


class Live(msgspec.Struct, kw_only=True):
    """The response of a process that answers."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct, kw_only=True):
    """Whether a load balancer should send new clients here."""

    status: Literal["ready", "not_ready"]


class NoParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A request without parameters."""


def operations(report: Callable[[], HealthReport], version: str) -> tuple[Operation, ...]:
    """Return the three operations about health.

    Args:
        report: called for each request; fast, and never waits for a dependency.
    """

    async def health(caller: Caller | None, request: NoParameters) -> Reply:
        now = report()
        body = Health(
            status=now.status,
            durability=now.durability,
            checks=dict(now.checks),
            version=version,
        )
        return Reply(503 if now.status == "down" else 200, body)

    async def live(caller: Caller | None, request: NoParameters) -> Reply:
        return Reply(200, Live())

    async def ready(caller: Caller | None, request: NoParameters) -> Reply:
        if report().ready:
            return Reply(200, Ready(status="ready"))
        return Reply(503, Ready(status="not_ready"))

    return (
        _operation("health", "/health", "Whether it works", Health, "Sends are refused.", health),
        _operation("health_live", "/health/live", "Whether the process answers", Live, None, live),
        _operation(
            "health_ready",
            "/health/ready",
            "Whether to send new clients here",
            Ready,
            "Not started yet, or shutting down.",
            ready,
        ),
    )


def _operation(
    name: str,
    path: str,
    summary: str,
    kind: type[msgspec.Struct],
    bad: str | None,
    handler: object,
) -> Operation:
    responses: dict[int, tuple[str, type[msgspec.Struct]]] = {200: ("Yes.", kind)}
    if bad is not None:
        responses[503] = (bad, kind)
    return Operation(
        name=name,
        method="GET",
        path=path,
        summary=summary,
        access=ANYBODY,
        request=NoParameters,
        responses=responses,
        handler=handler,  # type: ignore[arg-type]
        tag="health",
        quiet=True,
    )
