"""The service as a process of its own: started, killed, stopped, started again.

Everything goes through ``python -m chatsvc serve``, its environment and its signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import jwt

from testkit.blocks import Block

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30.0
STOP_SECONDS = 30.0
SECRET = "the fault kit's own secret, of 32 bytes or more"


class ServiceError(Exception):
    """It did not do what was asked; the text ends with the last of its stderr."""


def free_port() -> int:
    """A port that stays free over restarts: below those the kernel hands out itself."""
    ports = list(range(20_000, 32_000))
    random.SystemRandom().shuffle(ports)
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServiceError("no free port from 20000 to 32000")


def token(user: str, seconds: int = 30 * 86_400) -> str:
    """A token for the user, signed with the kit's secret."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + seconds}, SECRET, "HS256")


class Service(Block):
    """One service on one ``DATA_DIR`` and one port, over any number of its lives.

    Args:
        data_dir: its ``DATA_DIR``; the kept stderr goes beside it.
        env: more variables, over the kit's own.
        prefix: a command to run it under, for example ``("prlimit", "--fsize=1000000")``.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.prefix = tuple(prefix)
        self.env = {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DATA_DIR": str(data_dir),
            "JWT_SECRET": SECRET,
            "STORE": "sqlite",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "info",
            "MIN_FREE_BYTES": "0",
            "DRAIN_SECONDS": "0",
            **(env or {}),
        }
        self.errors = data_dir.parent / f"{data_dir.name}.stderr"
        self.lives = 0
        self._process: subprocess.Popen[bytes] | None = None

    async def begin(self) -> None:
        await self.start()

    async def end(self, error: BaseException | None) -> None:
        if self.running:
            await self.kill()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        """The same, for a proxy."""
        return ("127.0.0.1", self.port)

    @property
    def running(self) -> bool:
        """Whether its process lives, stopped or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process now."""
        return self._known().pid

    def stderr(self) -> str:
        """All that it ever wrote there."""
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    async def start(self, *, ready: bool = True) -> None:
        """Start it and, unless told otherwise, wait until ``/health/ready`` says 200."""
        if self.running:
            raise ServiceError("it runs already")
        own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "chatsvc", "serve"],
                env={**own, **self.env},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        self.lives += 1
        if ready:
            await self.wait_ready()

    async def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Raises:
        ServiceError: it ended, or was not ready in time.
        """
        async with aiohttp.ClientSession() as session:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if not self.running:
                    raise self._error(f"it ended with {self._known().returncode}")
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    answer = await session.get(
                        f"{self.url}/health/ready", timeout=aiohttp.ClientTimeout(total=2)
                    )
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.02)
        raise self._error(f"it was not ready within {seconds:g} s")

    async def health(self) -> dict[str, Any]:
        """``GET /health``, with the HTTP status as ``http_status``."""
        async with aiohttp.ClientSession() as session:
            answer = await session.get(
                f"{self.url}/health", timeout=aiohttp.ClientTimeout(total=10)
            )
            return {**await answer.json(content_type=None), "http_status": answer.status}

    async def kill(self) -> None:
        """``kill -9``: no chance to say goodbye."""
        self._known().send_signal(signal.SIGKILL)
        await self.wait_exit()

    async def terminate(self) -> int:
        """SIGTERM; its exit status."""
        self._known().send_signal(signal.SIGTERM)
        return await self.wait_exit()

    async def restart(self) -> None:
        """``kill -9``, and start again on the same port and ``DATA_DIR``."""
        if self.running:
            await self.kill()
        await self.start()

    def stop(self) -> None:
        """SIGSTOP: the process is there, and does nothing."""
        self._known().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._known().send_signal(signal.SIGCONT)

    async def wait_exit(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit status, negative for a signal.

        Raises:
            ServiceError: it did not end in time.
        """
        process = self._known()
        try:
            return await asyncio.to_thread(process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise self._error(f"it did not end within {seconds:g} s") from None

    def _known(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceError("it was never started")
        return self._process

    def _error(self, text: str) -> ServiceError:
        return ServiceError(f"{text}; the last of its stderr:\n{self.stderr()[-4000:]}")


class MakeService(Protocol):
    """Makes a service that is not started; whatever runs at the end is killed."""

    def __call__(
        self,
        env: Mapping[str, str] | None = None,
        *,
        data_dir: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> Service: ...


@contextlib.asynccontextmanager
async def services(folder: Path) -> AsyncIterator[MakeService]:
    """Make services on ``folder/data``, or a folder that the call names.

    They are not started; whatever runs at the end is killed.
    """
    made: list[Service] = []

    def make(
        env: Mapping[str, str] | None = None,
        *,
        data_dir: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> Service:
        service = Service(data_dir or folder / "data", env=env, prefix=prefix)
        made.append(service)
        return service

    try:
        yield make
    finally:
        for service in made:
            if service.running:
                await service.kill()
