"""Projections as an operator sees them: the command, beside a service and not, metrics, health."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatsvc.core.record import Record
from chatsvc.storage.projections.builder import ProjectionBuilder
from testkit.talking import bearer
from testkit.waiting import PATIENCE, until
from tests.integration.support import reaction_rows
from tests.integration.support.reacting_command import reacting_command
from tests.integration.support.reactions import ReactingService

CHANNEL = "alice,bob"


@pytest.fixture
async def service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_settings: dict[str, str]
) -> AsyncIterator[ReactingService]:
    defaults = ProjectionBuilder.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "look_seconds", 0.05)
    made = ReactingService(tmp_path, monkeypatch, **store_settings)
    await made.start()
    yield made
    await made.stop()


async def call(service: ReactingService, method: str, path: str, **options: Any) -> Any:
    async with (
        aiohttp.ClientSession(headers=bearer("alice")) as session,
        session.request(method, f"{service.url}{path}", **options) as answer,
    ):
        assert answer.ok, await answer.text()
        return await (answer.json() if path != "/metrics" else answer.text())


async def react(service: ReactingService, emoji: str) -> str:
    body = {"channel": CHANNEL, "message": "m1", "emoji": emoji}
    return str((await call(service, "POST", "/api/reactions", json=body))["id"])


async def shown_at(service: ReactingService, position: str) -> list[str]:
    """The reactions, from the rows alone, once they are folded up to there."""
    asked = {
        "channel": CHANNEL,
        "message": "m1",
        "overlaid": "false",
        "as_of": str(int(position, 16)),
    }
    async with asyncio.timeout(30):
        while True:
            found = await call(service, "GET", "/api/reactions", params=asked)
            if found["as_of"] >= position:
                return [one["emoji"] for one in found["reactions"]]


async def run(folder: Path, *argv: str, **settings: str) -> str:
    done = await asyncio.to_thread(reacting_command, folder, "projections", *argv, **settings)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


async def metrics(service: ReactingService) -> dict[str, float]:
    text = await call(service, "GET", "/metrics")
    found = re.findall(r'^chatsvc_projection_(\w+)\{projection="reactions"\} (.+)$', text, re.M)
    return {name: float(value) for name, value in found}


async def until_metrics(service: ReactingService, **wanted: float) -> None:
    async with asyncio.timeout(PATIENCE):
        while await metrics(service) != wanted:
            pass


async def until_stored(service: ReactingService, record_id: str) -> None:
    await until(lambda: service.log.tail.stored >= int(record_id, 16))


async def test_a_running_service_builds_what_the_command_begins_anew(
    service: ReactingService,
    tmp_path: Path,
    store_settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has folded everything since the store was empty, and stores before it looks."""
    looking, build = asyncio.Event(), ProjectionBuilder.build

    async def held_up(builder: ProjectionBuilder) -> None:
        await looking.wait()
        await build(builder)

    monkeypatch.setattr(ProjectionBuilder, "build", held_up)
    await react(service, "1")
    assert await shown_at(service, await react(service, "2")) == ["1", "2"]
    for number in (3, 4):
        looking.clear()
        done = asyncio.create_task(run(tmp_path, "rebuild", "reactions", **store_settings))
        await react(service, f"{number}a")
        assert (await done).startswith("reactions  begun anew")
        last = await react(service, f"{number}b")
        await until_stored(service, last)
        looking.set()
        assert len(await shown_at(service, last)) == 2 * number - 2
    assert await run(tmp_path, **store_settings) == (
        f"reactions  version 1  live  {last}  0 s behind {last}\n"
    )


async def test_a_stopped_service_builds_it_when_it_starts(
    service: ReactingService, tmp_path: Path, store_settings: dict[str, str]
) -> None:
    last = await react(service, "1")
    assert await shown_at(service, last) == ["1"]
    await service.stop()
    await run(tmp_path, "rebuild", "reactions", **store_settings)
    assert await run(tmp_path, **store_settings) == (
        f"reactions  version 1  building  {'0' * 16}  0 s behind {last}\n"
    )
    await service.start()
    assert await shown_at(service, last) == ["1"]


async def test_one_that_cannot_be_built_is_seen(
    service: ReactingService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(record: Record) -> list[Any]:
        raise ZeroDivisionError

    last = await react(service, "1")
    assert await shown_at(service, last) == ["1"]
    await until_metrics(service, failing=0, building=0, behind_seconds=0)
    health = await call(service, "GET", "/health")
    assert (health["status"], health["checks"]["projections"]) == ("ok", {"status": "ok"})
    await service.stop()
    good = reaction_rows.REACTIONS
    monkeypatch.setattr(reaction_rows, "REACTIONS", replace(good, version=2, fold=fail))
    await service.start()

    await until_metrics(service, failing=1, building=1, behind_seconds=0)
    health = await call(service, "GET", "/health")
    assert health["status"] == "degraded"
    assert health["checks"]["projections"]["detail"].startswith(
        "projection 'reactions' cannot be built: "
    )
    await service.stop()
    monkeypatch.setattr(reaction_rows, "REACTIONS", replace(good, version=3))
    await service.start()
    assert await shown_at(service, last) == ["1"]
    await until_metrics(service, failing=0, building=0, behind_seconds=0)
    assert (await call(service, "GET", "/health"))["status"] == "ok"
