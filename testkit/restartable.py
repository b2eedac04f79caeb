"""A server that goes away and comes back where it was."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from testkit.dev_server import DevServer, start_server
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
        self._server = start_server(
            [sys.executable, "-m", "chatsvc", self._command, "--port", self._port, *data],
            ROOT,
            ENVIRONMENT | self._settings,
        )
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
