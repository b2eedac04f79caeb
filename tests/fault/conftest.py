"""Options and fixtures of the fault tests, and the table of figures at their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from testkit.service import MakeService, Service, services
from tests.fault.kit.clock import Clock
from tests.fault.kit.trial import Trial, require_clean

_FIGURES = "figures"
_SHORT = 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-rounds",
        type=int,
        help="the long form: every nemesis, each striking so often, the slow ones a fifth",
    )
    parser.addoption(
        "--outage-seconds",
        type=int,
        default=30,
        help="how long the database stays away under load (default: %(default)s)",
    )
    parser.addoption(
        "--outage-rate",
        type=int,
        default=500,
        help="how many sends a second meanwhile (default: %(default)s)",
    )
    parser.addoption(
        "--model-seconds",
        type=int,
        default=600,
        help="how long the long form runs the model of log and stores (default: %(default)s)",
    )


def _rounds_asked(config: pytest.Config) -> int | None:
    # The option is unknown when the whole of tests/ runs: this file is read too late then.
    asked: int | None = config.getoption("--fault-rounds", default=None)
    return asked


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The short form leaves out what takes long and shows little that others do not."""
    if _rounds_asked(config) is not None:
        return
    here = Path(__file__).parent
    long = [item for item in items if here in item.path.parents and item.get_closest_marker("slow")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often to strike."""
    return _rounds_asked(request.config) or _SHORT


@pytest.fixture
def few_rounds(rounds: int) -> int:
    """How often to strike where each time takes many seconds."""
    return max(1, rounds // 5)


@pytest.fixture
async def make_service(tmp_path: Path) -> AsyncIterator[MakeService]:
    async with services(tmp_path) as make:
        yield make


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Right, until it is set."""
    return Clock(tmp_path / "clock")


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
