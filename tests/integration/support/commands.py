"""What the tests of commands share: calls, and what a process says."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from testkit.process import Process, running
from testkit.talking import SECRET

LISTENS = r"listens on (http://\S+)"


def request(url: str, token: str, body: object = None) -> dict[str, Any]:
    """A call with a token; a body makes it a POST."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def one_line(done: subprocess.CompletedProcess[str], *, status: int = 2) -> str:
    """It ended with this status, and said why in one line."""
    assert done.returncode == status, done
    assert done.stderr.startswith("chatsvc: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def serving(folder: Path, *argv: str, **variables: str) -> Any:
    settings = {"JWT_SECRET": SECRET, "PORT": "0", "LOG_FORMAT": "json", **variables}
    return running(folder, "serve", *argv, **settings)


def events(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.err.splitlines()]
