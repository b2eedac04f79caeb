"""Log, stores and readers against a model that knows what was acknowledged.

A failure names its seed and the steps that led there. A seed of the long form is run again by
its number in :data:`SEEDS`.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatsvc.log.local import attachment, maintenance, opening
from chatsvc.log.local import log as local
from tests.fault.kit.model_run import run

SEEDS = range(12)
STEPS = 40

Run = Callable[[int], Awaitable[int]]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a seed, in a folder of its own; how many answers were compared."""
    monkeypatch.setattr(maintenance, "_SECONDS", 3600.0)

    def set_clock(clock: Callable[[], int]) -> None:
        monkeypatch.setattr(local, "now_ms", clock)
        monkeypatch.setattr(opening, "now_ms", clock)
        monkeypatch.setattr(attachment, "now_ms", clock)

    async def one(seed: int) -> int:
        folder = tmp_path / str(seed)
        folder.mkdir()
        with capture_logs():  # thousands of stores go away
            checks = await asyncio.wait_for(run(folder, seed, STEPS, set_clock), 120)
        await asyncio.to_thread(shutil.rmtree, folder)
        return checks

    return one


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_befalls_clocks_and_disks(model: Run, seed: int) -> None:
    assert await model(seed) > 5


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.timeout(4000)
async def test_whatever_befalls_them_for_long(
    model: Run,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    ends = time.monotonic() + request.config.getoption("--model-seconds")
    seed, checks = 1000, 0
    while time.monotonic() < ends:
        checks += await model(seed)
        seed += 1
    record_property("figures", {"runs": seed - 1000, "answers compared": checks})
