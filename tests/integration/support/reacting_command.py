"""A command of the program as a process of its own, with reactions registered as a feature."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chatsvc.app import features as registered
from chatsvc.cli import main
from testkit.process import LIMIT_SECONDS, environment
from tests.integration.support.reaction_rows import reactions_feature


def reacting_command(
    folder: Path, *argv: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", __name__, *argv],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


if __name__ == "__main__":
    usual = registered.features
    registered.features = lambda parts: (*usual(parts), reactions_feature(parts.log, parts.rows))
    sys.exit(main())
