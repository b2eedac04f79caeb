"""``chatsvc dev`` as a process of its own, for tests that act from outside."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 30
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


class DevServer:
    """A running server. ``url`` has no slash at its end; ``output`` is all it said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url = ""
        self._lines: list[str] = []
        self._fresh: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            self._fresh.put(line)
        self._fresh.put(None)

    def wait_for_url(self) -> None:
        """Until it says where it listens.

        Raises:
            AssertionError: it ended, or said nothing for a minute.
        """
        while True:
            try:
                line = self._fresh.get(timeout=START_SECONDS)
            except queue.Empty:
                raise AssertionError(f"no URL after {START_SECONDS} s:\n{self.output}") from None
            assert line is not None, f"it ended before it served:\n{self.output}"
            if match := _URL.search(line):
                self.url = match[0]
                return

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end after SIGTERM:\n{self.output}") from None
        finally:
            self._reader.join(STOP_SECONDS)
            if self.process.stdout is not None:
                self.process.stdout.close()


def start_server(
    command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]
) -> DevServer:
    """Start a server, and return once it says where it listens.

    Args:
        command: the program and its arguments.
        environment: in addition to PATH and HOME, and nothing else from ours.

    Raises:
        AssertionError: it did not say so; it is stopped.
    """
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=cwd,
        env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = DevServer(process)
    try:
        server.wait_for_url()
    except BaseException:
        server.stop()
        raise
    return server


@contextlib.contextmanager
def dev_server(
    command: Sequence[str | Path], data_dir: Path, cwd: Path, environment: Mapping[str, str]
) -> Iterator[DevServer]:
    """``command`` followed by ``dev`` on a free port; stopped at the end, well or with a fault.

    Args:
        command: the program, for example ``[sys.executable, "-m", "chatsvc"]``.
        environment: as of :func:`start_server`.
    """
    arguments = ["dev", "--port", "0", "--data-dir", str(data_dir)]
    server = start_server([*command, *arguments], cwd, environment)
    try:
        yield server
    finally:
        server.stop()
