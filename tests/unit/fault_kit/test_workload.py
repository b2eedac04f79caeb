"""Workload, recorder and checker together find what a server does wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.kit.checker import Fault, Verdict, check_files
from tests.fault.kit.recorder import Recorder
from tests.fault.kit.workload import Mix, Workload
from tests.unit.fault_kit.faulty_server import running

MIX = Mix(pause=0.005, drop_after=0.2, listeners=9, conversations=5, users=5)


async def judged(fault: str, folder: Path) -> Verdict:
    async with running(fault) as url:
        with Recorder(folder / "run.jsonl") as recorder:
            async with Workload(recorder, url, MIX) as load:
                await load.acknowledged_reach(200)
                await load.finish(seconds=5)
        return check_files(recorder.path)


async def test_a_server_that_keeps_its_promises(tmp_path: Path) -> None:
    verdict = await judged("", tmp_path)
    assert verdict.clean, str(verdict)
    assert not verdict.open_ends, str(verdict)
    assert verdict.totals["messages acknowledged"] >= 200
    assert verdict.totals["deliveries"] > 200
    assert verdict.totals["resumes"] > 0
    assert verdict.totals["reads"] > 0


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("lose", Fault.LOST),
        ("double", Fault.DOUBLED),
        ("again", Fault.DOUBLED),
        ("swap", Fault.NEVER_SENT),
        ("to_sender", Fault.TO_SENDER),
        ("wrong_person", Fault.WRONG_PERSON),
        ("skip", Fault.SILENT_GAP),
        ("stale", Fault.STALE_READ),
        ("alter", Fault.ALTERED),
    ],
)
async def test_a_server_that_breaks_one(fault: str, found: Fault, tmp_path: Path) -> None:
    verdict = await judged(fault, tmp_path)
    assert verdict.counts[found], str(verdict)
