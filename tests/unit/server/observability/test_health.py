"""``/health`` and the two that routers ask."""

from __future__ import annotations

from chatsvc.server.observability.health import Check, HealthReport
from tests.unit.support.http_service import HttpService, running


def report(status: str, *, ready: bool = True) -> HealthReport:
    checks = {"log": Check(status="ok"), "store": Check(status=status, detail="no answer")}  # type: ignore[arg-type]
    return HealthReport(status=status, durability="fsync", checks=checks, ready=ready)  # type: ignore[arg-type]


async def test_ok_and_degraded_are_200_and_down_is_503() -> None:
    service = HttpService()
    async with running(service) as client:
        for status, http in (("ok", 200), ("degraded", 200), ("down", 503)):
            service.health = report(status)
            answer = await client.call("GET", "/health", user=None)
            assert answer.status == http
            assert answer.json == {
                "status": status,
                "durability": "fsync",
                "checks": {
                    "log": {"status": "ok"},
                    "store": {"status": status, "detail": "no answer"},
                },
                "version": "0.0.0",
            }


async def test_live_and_ready() -> None:
    service = HttpService()
    async with running(service) as client:
        service.health = report("down", ready=False)
        live = await client.call("GET", "/health/live", user=None)
        assert (live.status, live.json) == (200, {"status": "ok"})
        ready = await client.call("GET", "/health/ready", user=None)
        assert (ready.status, ready.json) == (503, {"status": "not_ready"})
        service.health = report("down")
        ready = await client.call("GET", "/health/ready", user=None)
        assert (ready.status, ready.json) == (200, {"status": "ready"})


async def test_a_bad_token_does_not_matter() -> None:
    async with running(HttpService()) as client:
        headers = {"Authorization": "Bearer expired"}
        assert (await client.call("GET", "/health", user=None, headers=headers)).status == 200
