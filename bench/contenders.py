"""The servers that are measured: chatsvc, and servers that do less.

Each is started by a command, accepts sockets by a handshake, and publishes by a request whose
response body is the payload of the frame. Payloads have the same size for all.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from bench.http_load import request
from bench.processes import Failed, Server, started
from bench.sockets import handshake

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "bench" / "peers"
BUILT = ROOT / "build" / "bench"
SECRET = "the bench's own secret, of 32 bytes or more"
CONTENT = "The quick brown fox jumps over the lazy dog. " * 2


def token(user: str) -> str:
    """Return a token for ``user`` that is valid for a day."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + 86_400}, SECRET, "HS256")


def people(count: int) -> list[str]:
    """Return the names of ``count`` listeners, all of the same length."""
    return [f"u{number:05}" for number in range(count)]


def sample(names: Sequence[str], content: str = CONTENT) -> bytes:
    """Return a message of exactly the size that chatsvc makes; the peers send it."""
    everybody = sorted({"sender", *names})
    message = {
        "type": "message",
        "id": "019aa5b1c2d30000",
        "created_at": "2026-01-01T00:00:00.000Z",
        "channel": ",".join(everybody),
        "sender": "sender",
        "content": content,
        "participants": everybody,
    }
    return json.dumps(message, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Contender:
    """A server to measure. ``share`` is its part of the publishes, less than 1 if it is slow.

    ``publishing`` makes the request that sends a text to listeners.
    """

    name: str
    note: str
    command: Sequence[str]
    sends_hello: bool
    opening: Callable[[str], bytes]
    publishing: Callable[[Sequence[str], str], bytes]
    environment: dict[str, str] = field(default_factory=dict)
    share: float = 1.0

    @contextlib.contextmanager
    def run(self, folder: Path, core: set[int], **environment: str) -> Iterator[Server]:
        """Run the server until the block ends. Raises ``Failed``."""
        settings = {
            "DATA_DIR": str(folder / "data"),
            "PYTHONPATH": str(ROOT),
            **self.environment,
            **environment,
        }
        with started(self.command, settings, folder, core) as server:
            yield server


def chatsvc(log_level: str = "info", checkout: Path | None = None) -> Contender:
    """The service as in production: fsynced log, embedded store, a log line per request.

    Its log lines go to a file. Heartbeats are rare, or they would be counted as messages;
    RECENT_BYTES is small, so that memory does not grow during a run.

    Args:
        checkout: another working tree whose ``chatsvc`` is run instead, to compare before and
            after a change within one run.
    """
    name = "chatsvc" if log_level == "info" else f"chatsvc ({log_level})"
    return Contender(
        name=name if checkout is None else f"{name} in {checkout.resolve().name}",
        note="fsynced before 201, stored in SQLite, tokens checked",
        # -P: the package comes from PYTHONPATH, not from the folder that we stand in.
        command=(sys.executable, "-P", "-m", "chatsvc", "serve"),
        sends_hello=True,
        opening=lambda user: handshake("/ws", {"Authorization": f"Bearer {token(user)}"}),
        publishing=lambda names, content: send_request(names, content=content),
        environment={
            "HOST": "127.0.0.1",
            "JWT_SECRET": SECRET,
            "STORE": "sqlite",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": log_level,
            "HEARTBEAT_SECONDS": "600",
            "RECENT_BYTES": "8MiB",
            **({} if checkout is None else {"PYTHONPATH": str(checkout.resolve())}),
        },
    )


def send_request(names: Sequence[str], sender: str = "sender", content: str = CONTENT) -> bytes:
    """Return ``POST /api/messages`` from ``sender`` to ``names``."""
    body = json.dumps({"participants": [sender, *names], "content": content}).encode()
    return request("POST", "/api/messages", {"Authorization": f"Bearer {token(sender)}"}, body)


def _peer(name: str, note: str, command: Sequence[str], share: float = 1.0) -> Contender:
    return Contender(
        name=name,
        note=note,
        command=command,
        sends_hello=False,
        opening=lambda _user: handshake("/ws", {}),
        publishing=lambda names, content: request("POST", "/publish", {}, sample(names, content)),
        share=share,
    )


def bare() -> Contender:
    """Return the minimal server."""
    return _peer(
        "bare uvloop", "memory only; no framework", (sys.executable, "-m", "bench.peers.bare")
    )


def aiohttp_gather() -> Contender:
    """Return a straightforward aiohttp server."""
    return _peer(
        "aiohttp gather",
        "memory only",
        (sys.executable, "-m", "bench.peers.aiohttp_gather"),
        share=0.2,
    )


def node_ws() -> Contender:
    """Return the server on ws; needs node and npm, and a package registry once.

    Raises:
        Failed: node or npm is not installed.
    """
    folder = BUILT / "node"
    _need("node", "npm")
    if not (folder / "node_modules").exists():
        shutil.copytree(PEERS / "node", folder, dirs_exist_ok=True)
        _make(["npm", "ci", "--no-audit", "--no-fund"], folder)
    return _peer("node ws", "memory only", ("node", str(folder / "server.js")), share=0.5)


def go_gorilla() -> Contender:
    """Return the server on gorilla/websocket; needs go, and a module proxy once.

    Raises:
        Failed: go is not installed.
    """
    program = BUILT / "go-peer"
    _need("go")
    if not program.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        _make(["go", "build", "-o", str(program), "."], PEERS / "go")
    return _peer("go gorilla", "memory only; one core", (str(program),), share=0.5)


PEER_MAKERS: dict[str, Callable[[], Contender]] = {
    "bare": bare,
    "aiohttp": aiohttp_gather,
    "node": node_ws,
    "go": go_gorilla,
}


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise Failed(f"{program} is not on the PATH")


def _make(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr[-1000:]}")
