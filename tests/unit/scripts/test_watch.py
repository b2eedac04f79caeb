"""``make watch``: the tests that are named, or the quick ones; pytest is interrupted."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from scripts import watch
from testkit.process import ROOT


@pytest.mark.parametrize(
    ("given", "tests"), [([], ["tests/unit"]), (["tests/unit/log", "-x"], ["tests/unit/log", "-x"])]
)
def test_which_tests_are_run(
    monkeypatch: pytest.MonkeyPatch, given: list[str], tests: list[str]
) -> None:
    seen: list[tuple[list[str], list[Path], int]] = []

    def run(command: list[str], watched: list[Path], *, stop_with: int) -> int:
        seen.append((command, watched, stop_with))
        return 5

    monkeypatch.setattr(watch, "run_and_restart", run)
    monkeypatch.setattr(sys, "argv", ["watch.py", *given])
    assert watch.main() == 5
    ((command, watched, number),) = seen
    assert command == [sys.executable, "-m", "pytest", "-q", "--failed-first", *tests]
    assert watched == [ROOT / "chatsvc", ROOT / "demo_cli", ROOT / "tests"]
    assert number == signal.SIGINT
