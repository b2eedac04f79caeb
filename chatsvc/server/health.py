"""``/health``: whether sends are taken, what the dependencies do, and whether to route here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from chatsvc.wire.operation import Access, Caller, Operation, Reply


class Check(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One dependency. ``detail`` says what is wrong; never an address or a credential."""

    status: Literal["ok", "degraded", "down"]
    detail: str | None = None


class HealthReport(msgspec.Struct, kw_only=True):
    """What the composition root knows.

    ``status`` is ``down`` while sends are refused. ``ready``: started and not draining,
    whatever the dependencies do.
    """

    status: Literal["ok", "degraded", "down"]
    durability: str
    checks: Mapping[str, Check]
    ready: bool


class Health(msgspec.Struct, kw_only=True):
    """``durability`` is what a 201 means: for example ``fsync``. 503 while ``down``."""

    status: Literal["ok", "degraded", "down"]
    durability: str
    checks: dict[str, Check]
    version: str


class Live(msgspec.Struct, kw_only=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct, kw_only=True):
    """Whether to send new clients here."""

    status: Literal["ready", "not_ready"]


class NoParameters(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing is asked."""


def operations(report: Callable[[], HealthReport], version: str) -> tuple[Operation, ...]:
    """Args:
    report: called for each request; quick, and never waits for a dependency.
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

    def operation(
        name: str,
        path: str,
        summary: str,
        kind: type[msgspec.Struct],
        bad: str | None,
        handler: object,
    ) -> Operation:
        responses: dict[int, tuple[str, type[msgspec.Struct]]] = {200: ("It is.", kind)}
        if bad is not None:
            responses[503] = (bad, kind)
        return Operation(
            name=name,
            method="GET",
            path=path,
            summary=summary,
            access=Access.ANYBODY,
            request=NoParameters,
            responses=responses,
            handler=handler,  # type: ignore[arg-type]
            tag="health",
            quiet=True,
        )

    return (
        operation("health", "/health", "Whether it works", Health, "Sends are refused.", health),
        operation("health_live", "/health/live", "Whether the process answers", Live, None, live),
        operation(
            "health_ready",
            "/health/ready",
            "Whether to send new clients here",
            Ready,
            "Not started yet, or shutting down.",
            ready,
        ),
    )
