"""``python -m chatsvc …`` as a process of its own, its two outputs apart."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_SECONDS = 60.0


def environment(**variables: str) -> dict[str, str]:
    """PATH, HOME and these, and nothing else from ours; no router waits to see us drain."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**inherited, "PYTHONPATH": str(ROOT), "DRAIN_SECONDS": "0", **variables}


def command(
    folder: Path, *argv: str, prefix: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in ``folder``; ``prefix`` is a command that runs it."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "chatsvc", *argv],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


class Process:
    """A command that runs until it is told to stop."""

    def __init__(self, folder: Path, argv: tuple[str, ...], variables: dict[str, str]) -> None:
        self._out = folder / f"{time.monotonic_ns()}.out"
        self._err = self._out.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "chatsvc", *argv],
                cwd=folder,
                env=environment(**variables),
                stdout=out,
                stderr=err,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    @property
    def out(self) -> str:
        """What it wrote to standard output so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it wrote to standard error so far."""
        return self._err.read_text()

    def wait_for(self, pattern: str, *, err: bool = False) -> re.Match[str]:
        """Until its output matches.

        Raises:
            AssertionError: it ended before, or a minute is over.
        """
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            ended = self._popen.poll() is not None
            match = re.search(pattern, self.err if err else self.out)
            if match:
                return match
            assert not ended, f"it ended with {self._popen.returncode}:\n{self.out}\n{self.err}"
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.out}\n{self.err}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the exit status."""
        if self._popen.poll() is None:
            self._popen.send_signal(number)
        return self._popen.wait(LIMIT_SECONDS)

    def kill(self) -> None:
        """End it whatever it does."""
        self._popen.kill()
        self._popen.wait()


@contextlib.contextmanager
def running(folder: Path, *argv: str, **variables: str) -> Iterator[Process]:
    """Started in ``folder``; killed at the end if it still runs."""
    process = Process(folder, argv, variables)
    try:
        yield process
    finally:
        process.kill()
