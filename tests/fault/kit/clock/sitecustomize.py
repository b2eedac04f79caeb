"""Put on PYTHONPATH of a service: its wall clock is wrong by what a file says.

``FAULT_CLOCK_FILE`` names the file; it holds seconds, to be added. Python imports a
module of this name at its start (site, in the standard library's reference). The
monotonic clock, which a step of the wall clock never touches, is left alone.
"""

from __future__ import annotations

import os
import time

_file = os.environ.get("FAULT_CLOCK_FILE")

if _file is not None:
    _true_time_ns = time.time_ns
    _descriptor = os.open(_file, os.O_RDONLY)

    def _time_ns() -> int:
        return _true_time_ns() + int(os.pread(_descriptor, 32, 0)) * 1_000_000_000

    def _time() -> float:
        return _time_ns() / 1e9

    time.time_ns = _time_ns
    time.time = _time
