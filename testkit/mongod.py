"""A MongoDB for the tests: the one that ``CHATSVC_TEST_MONGO_URI`` names, or a process
of their own from the program that ``MONGOD`` names, or a ``mongod`` on the PATH."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

START_SECONDS = 60.0
NO_MONGODB = "no MongoDB: set CHATSVC_TEST_MONGO_URI or MONGOD, or put mongod on the PATH"


def given_uri() -> str | None:
    """A server that somebody else runs."""
    return os.environ.get("CHATSVC_TEST_MONGO_URI") or None


def program() -> str | None:
    """What starts a server."""
    named = os.environ.get("MONGOD")
    return named or shutil.which("mongod")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MongoServer:
    """A server of the tests' own, on one port and one folder for its whole life.

    Args:
        executable: takes ``mongod``'s options.
        folder: holds its data and what it says.
    """

    def __init__(self, executable: str, folder: Path) -> None:
        self.port = free_port()
        self._executable = executable
        self._data = folder / "data"
        self._output = folder / "output.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return once it takes connections; also after :meth:`stop` or :meth:`kill`."""
        self._data.mkdir(parents=True, exist_ok=True)
        command = [
            self._executable,
            "--port", str(self.port),
            "--dbpath", str(self._data),
            "--bind_ip", "127.0.0.1",
            "--setParameter", "enableTestCommands=1",
        ]  # fmt: skip
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECONDS
        while b"aiting for connections" not in self._output.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._output.read_text("utf-8", "replace")[-2000:]
                self.kill()
                raise RuntimeError(f"{self._executable} did not start: {said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """As an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As the kernel would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """After :meth:`pause`."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a paused one takes no other signal
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


@contextmanager
def running(executable: str, folder: Path) -> Iterator[MongoServer]:
    """A started server, gone afterwards."""
    server = MongoServer(executable, folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def scratch_database(uri: str) -> Iterator[str]:
    """The name of a database that nobody else has; it alone is dropped afterwards."""
    name = f"chatsvc_test_{secrets.token_hex(8)}"
    try:
        yield name
    finally:
        with client(uri) as connection:
            connection.drop_database(name)


def client(uri: str) -> MongoClient[dict[str, Any]]:
    """A plain client, for looking at what is there."""
    return MongoClient(uri, serverSelectionTimeoutMS=30_000, tz_aware=True)


def is_mongodb_itself(uri: str) -> bool:
    """Whether the server explains its queries, as every MongoDB does."""
    with client(uri) as connection:
        try:
            reply = connection.admin.command("explain", {"find": "nothing", "filter": {}})
        except OperationFailure:
            return False
    return "queryPlanner" in reply


def replica_set(uri: str) -> str | None:
    """The name of the set that the server belongs to."""
    with client(uri) as connection:
        name = connection.admin.command("hello").get("setName")
    return str(name) if name else None
