"""A server that goes away and comes back where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from testkit.dev_server import DevServer
from testkit.terminal import ROOT

ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
    "PYTHONUNBUFFERED": "1",
    "LANG": "C.UTF-8",
}


class Service:
    """``chatsvc dev`` on one folder and, after its first start, one port.

    Args:
        data_dir: where it keeps everything.
        command: ``dev`` or ``serve``.
        settings: variables of its environment.
    """

    def __init__(self, data_dir: Path, command: str = "dev", **settings: str) -> None:
        self._data_dir = data_dir
        self._command = command
        self._settings = {"DRAIN_SECONDS": "0"} | settings
        self._port = "0"
        self._server: DevServer | None = None
        self.url = ""

    def start(self) -> None:
        data = ["--data-dir", str(self._data_dir)]
        process = subprocess.Popen(
            [sys.executable, "-m", "chatsvc", self._command, "--port", self._port, *data],
            cwd=ROOT,
            env=ENVIRONMENT | self._settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._server = DevServer(process)
        self._server.wait_for_url()
        self.url = self._server.url
        self._port = self.url.rsplit(":", 1)[1]

    def stop(self) -> int:
        assert self._server is not None
        return self._server.stop()

    def kill(self) -> None:
        """As a crash would end it."""
        assert self._server is not None
        self._server.process.send_signal(signal.SIGKILL)
        self._server.stop()
