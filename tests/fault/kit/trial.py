"""A service under load, and the verdict on what its clients saw."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testkit.service import Service
from tests.fault.kit.checker import check_files
from tests.fault.kit.recorder import Recorder
from tests.fault.kit.verdict import Verdict
from tests.fault.kit.workload import Mix, Workload


@dataclass(slots=True)
class Trial:
    """What a test holds while the load runs.

    ``notes`` are figures for the report; a test that reads the histories itself clears
    ``histories``.
    """

    service: Service
    load: Workload
    recording: Path
    notes: dict[str, str | int | float] = field(default_factory=dict)
    histories: bool = True


@asynccontextmanager
async def trial(
    service: Service, mix: Mix | None = None, *, socket_url: str | None = None
) -> AsyncIterator[Trial]:
    """Load on a service that runs; ends with everybody caught up and every history read."""
    recording = service.data_dir.parent / "run.jsonl"
    with Recorder(recording) as recorder:
        async with Workload(recorder, service.url, mix, socket_url=socket_url) as load:
            held = Trial(service, load, recording)
            yield held
            await load.finish(histories=held.histories)


def require_clean(held: Trial) -> Verdict:
    """Nothing went wrong, and the lines prove it.

    Raises:
        AssertionError: with the verdict and the end of the service's stderr.
    """
    verdict = check_files(held.recording)
    if not verdict.clean or verdict.open_ends:
        raise AssertionError(f"{verdict}\n\n{held.service.stderr()[-3000:]}")
    if not verdict.totals["messages acknowledged"]:
        raise AssertionError(f"nothing was acknowledged\n{verdict}")
    return verdict
