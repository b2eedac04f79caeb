"""Run tests, and again at each change of the source or of a test, until Ctrl-C.

    python -m scripts.watch [pytest's arguments]

What failed last comes first. Without arguments: the unit tests, which take seconds.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from chatsvc.cli.reloading import run_and_restart

ROOT = Path(__file__).resolve().parent.parent
WATCHED = [ROOT / name for name in ("chatsvc", "demo_cli", "tests")]


def main() -> int:
    """The status of the last run."""
    arguments = sys.argv[1:] or ["tests/unit"]
    command = [sys.executable, "-m", "pytest", "-q", "--failed-first", *arguments]
    # At SIGINT pytest undoes what fixtures have started; at SIGTERM it would not.
    return run_and_restart(command, WATCHED, stop_with=signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
