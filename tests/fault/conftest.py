"""Options and fixtures of the fault tests, and the table of figures at their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fault.kit.service import MakeService, Service
from tests.fault.kit.trial import Trial, require_clean

_FIGURES = "figures"
_SHORT = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-rounds",
        type=int,
        default=_SHORT,
        help="how often each nemesis strikes (default: %(default)s)",
    )


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often to strike."""
    # The option is unknown when the whole of tests/ runs: this file is read too late then.
    return int(request.config.getoption("--fault-rounds", default=_SHORT))


@pytest.fixture
async def make_service(tmp_path: Path) -> AsyncIterator[MakeService]:
    made: list[Service] = []

    def make(
        env: Mapping[str, str] | None = None,
        *,
        data_dir: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> Service:
        service = Service(data_dir or tmp_path / "data", env=env, prefix=prefix)
        made.append(service)
        return service

    yield make
    for service in made:
        if service.running:
            await service.kill()


@pytest.fixture
async def service(make_service: MakeService) -> Service:
    """One with the embedded store, started."""
    started = make_service()
    await started.start()
    return started


@pytest.fixture
def judge(record_property: Callable[[str, object], None]) -> Callable[[Trial], Any]:
    """Requires a clean verdict and keeps its figures for the table."""

    def require(held: Trial) -> Any:
        verdict = require_clean(held)
        figures = {name: verdict.totals[name] for name in _COLUMNS}
        record_property(_FIGURES, {**figures, **held.notes})
        return verdict

    return require


_COLUMNS = ("messages acknowledged", "sends unknown", "deliveries", "resumes", "reads")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was tried and how much of it; whatever stands here lost nothing."""
    rows = [
        (report.nodeid.rpartition("::")[2], dict(report.user_properties)[_FIGURES])
        for report in terminalreporter.getreports("passed")
        if _FIGURES in dict(report.user_properties)
    ]
    if not rows:
        return
    terminalreporter.section("fault figures (lost 0, doubled 0, out of order 0 in each)")
    for name, figures in rows:
        told = ", ".join(f"{key} {value}" for key, value in figures.items())
        terminalreporter.write_line(f"{name}: {told}")
