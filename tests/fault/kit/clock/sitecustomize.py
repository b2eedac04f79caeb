"""Put on PYTHONPATH of a service: its clocks are wrong by what a file says.

``FAULT_CLOCK_FILE`` names the file; its first line holds seconds to be added to the wall
clock, its second those to be added to the time since boot. Python imports a module of
this name at its start (site, in the standard library's reference). The monotonic clock,
by which timers go, is left alone.
"""

from __future__ import annotations

import os
import time

_file = os.environ.get("FAULT_CLOCK_FILE")

if _file is not None:
    _true_time_ns = time.time_ns
    _descriptor = os.open(_file, os.O_RDONLY)

    _true_gettime = time.clock_gettime

    def _time_ns() -> int:
        return _true_time_ns() + int(os.pread(_descriptor, 20, 0)) * 1_000_000_000

    def _gettime(clock: int) -> float:
        passed = int(os.pread(_descriptor, 20, 21)) if clock == time.CLOCK_BOOTTIME else 0
        return _true_gettime(clock) + passed

    def _time() -> float:
        return _time_ns() / 1e9

    time.time_ns = _time_ns
    time.time = _time
    time.clock_gettime = _gettime
