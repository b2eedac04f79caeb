"""The embedded store alone, without a service: writes by the number of people, and reads.

With ``--against`` the store of another checkout is measured in the same run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.contenders import ROOT
from bench.options import Options
from bench.processes import Failed
from bench.report import Figures

_PROGRAM = ROOT / "bench" / "store_load.py"


async def run(options: Options, figures: Figures) -> None:
    """Measure this checkout's store, and another's."""
    for checkout in filter(None, (ROOT, options.against)):
        name = "chatsvc" if checkout is ROOT else f"chatsvc in {checkout.resolve().name}"
        with options.temporary() as folder:
            for scenario, what, unit, value in _measured(checkout, folder, options):
                figures.add(scenario, name, what, unit, value)


def _measured(checkout: Path, folder: Path, options: Options) -> list[tuple[str, str, str, float]]:
    # -P: the package comes from PYTHONPATH, not from the folder of the program.
    done = subprocess.run(
        [sys.executable, "-P", str(_PROGRAM), str(folder), str(options.stored)],
        env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{_PROGRAM.name}: {done.stderr[-1000:]}")
    return [tuple(figure) for figure in json.loads(done.stdout)]
