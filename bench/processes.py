"""A server as a separate process, and its resource use according to the kernel.

CPU is ``utime + stime`` of ``/proc/PID/stat``: all its threads, and what the kernel did
on its behalf. Memory is ``Pss`` of ``/proc/PID/smaps_rollup``. Linux alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

START_SECONDS = 60.0
STOP_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A server did not start, or a run did not do what was to be measured."""


class Cores(NamedTuple):
    """The cores of server and load, so that the load does not slow the server."""

    server: set[int]
    load: set[int]


def cores() -> Cores:
    """Return the first core for the server and the others for the load, or one for both."""
    have = sorted(os.sched_getaffinity(0))
    return Cores({have[0]}, set(have[1:]) or {have[0]})


@contextlib.contextmanager
def on(core: set[int]) -> Iterator[None]:
    """Run processes that start in this block on ``core``."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_of_stat(stat: str) -> float:
    """Return the CPU seconds in a text of ``/proc/PID/stat`` (proc_pid_stat(5), fields 14, 15)."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_of_rollup(rollup: str) -> int:
    """Return the bytes in the text of ``/proc/PID/smaps_rollup``."""
    for line in rollup.splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1024
    raise Failed("smaps_rollup has no Pss")


class Server:
    """A running process. ``cpu`` and ``memory`` are read on each call."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def cpu(self) -> float:
        """Return the CPU seconds since the start."""
        return cpu_of_stat(Path(f"/proc/{self.pid}/stat").read_text())

    def cpu_of_loop(self) -> float:
        """Return the CPU seconds of the first thread, which runs the event loop."""
        return cpu_of_stat(Path(f"/proc/{self.pid}/task/{self.pid}/stat").read_text())

    def memory(self) -> int:
        """Return the private memory in bytes."""
        return pss_of_rollup(Path(f"/proc/{self.pid}/smaps_rollup").read_text())


@contextlib.contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, core: set[int]
) -> Iterator[Server]:
    """Run ``command`` on ``core`` with a free ``PORT`` until the block ends.

    Its standard error is saved in ``folder``, and part of the error if it does not start.

    Raises:
        Failed: it ended, or took no connection within a minute.
    """
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    errors = folder / "stderr.txt"
    with errors.open("ab") as stderr, on(core):
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, "PORT": str(port)},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        _await_port(process, port, errors)
        yield Server(process, port)
    finally:
        _stop(process)


def _await_port(process: subprocess.Popen[bytes], port: int, errors: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Failed(f"the server ended: {errors.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.005)
    raise Failed(f"the server took no connection: {errors.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
