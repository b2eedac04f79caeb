"""Every command and program that the documentation shows is run as it stands.

A block of commands that is not for a machine has a comment before it that says why,
``<!-- not run: … -->``, and is listed here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, NamedTuple

import jwt
import pytest

from testkit.dev_server import DevServer, dev_server
from tests.e2e.support import browser

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
README = "README.md"
PROTOCOL = "docs/protocol.md"
DOCUMENTS = (README, PROTOCOL)

# First line of each block that is not run.
NOT_RUN = {
    README: [
        "make run",
        "docker compose up --build",
        "python3 -m venv /opt/chatsvc",
        "make test",
    ],
    PROTOCOL: [],
}

SECRET = "0123456789abcdef0123456789abcdef"
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
# A refusal ends the run; so does an answer that does not come.
_PRELUDE = """\
set -euo pipefail
curl() { command curl --fail-with-body --max-time 20 "$@"; }
"""


class Block(NamedTuple):
    language: str
    text: str
    why_not: str | None


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text("utf-8")
    return [Block(m["language"], m["text"], m["why"]) for m in _BLOCK.finditer(text)]


def only(language: str, holds: str) -> str:
    """The one block of the README in a language that holds a text."""
    (found,) = [b.text for b in blocks(README) if b.language == language and holds in b.text]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("documented")
    with dev_server([sys.executable, "-m", "chatsvc"], folder / "data", ROOT, {}) as running:
        yield running


def here(text: str, server: DevServer) -> str:
    """The text with this server's address, and the commands of this environment."""
    address = server.url.removeprefix("http://")
    text = re.sub(r"(127\.0\.0\.1|localhost):8080", address, text)
    return text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")


def post(url: str, body: object, token: str = "") -> dict[str, object]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        decoded: dict[str, object] = json.load(answer)
        return decoded


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_do_what_they_say(document: str, server: DevServer, tmp_path: Path) -> None:
    commands = [b.text for b in blocks(document) if b.language == "sh" and b.why_not is None]
    assert commands, f"{document} shows no command"
    script = _PRELUDE
    for number, text in enumerate(commands, 1):
        script += f"\nprintf '\\n=== block {number}\\n'\n{here(text, server)}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"=== block {len(commands)}\n" in done.stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_not_run_is_known(document: str) -> None:
    skipped = [b for b in blocks(document) if b.language == "sh" and b.why_not is not None]
    assert [block.text.splitlines()[0] for block in skipped] == NOT_RUN[document]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_of_commands_is_found(document: str) -> None:
    """Commands in a fence of another name would be shown and never run."""
    text = (ROOT / document).read_text("utf-8")
    assert len(re.findall(r"^```sh$", text, re.M)) == len(
        [b for b in blocks(document) if b.language == "sh"]
    )
    assert not re.search(r"^```(bash|shell|console|zsh)\b", text, re.M)


TOOLS = {
    "python": ("jwt.encode", "mint.py", [sys.executable]),
    "js": ("createHmac", "mint.js", ["node"]),
    "go": ("hmac.New", "mint.go", ["go", "run"]),
}


@pytest.mark.parametrize("language", TOOLS)
def test_a_token_minted_as_shown_is_good(language: str, tmp_path: Path) -> None:
    holds, name, command = TOOLS[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on this machine")
    program = tmp_path / name
    program.write_text(only(language, holds), "utf-8")
    done = subprocess.run(
        [*command, program],
        cwd=tmp_path,
        env={**os.environ, "JWT_SECRET": SECRET, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    claims = jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"])
    assert claims["id"] == "alice"
    assert 0 < claims["exp"] - time.time() <= 901


@contextmanager
def program_of_alice(server: DevServer, folder: Path, text: str) -> Iterator[IO[str]]:
    """Run a program that the README shows, with a token of Alice's; yields what it prints."""
    program = folder / "shown.py"
    program.write_text(here(text, server), "utf-8")
    token = str(post(f"{server.url}/api/dev/token", {"user": "alice"})["token"])
    process = subprocess.Popen(
        [sys.executable, "-u", program, token],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_the_python_client_shown_receives(server: DevServer, tmp_path: Path) -> None:
    token = str(post(f"{server.url}/api/dev/token", {"user": "bob"})["token"])
    with program_of_alice(server, tmp_path, only("python", "Hello from Python!")) as printed:
        connected = False
        deadline = time.monotonic() + 50
        while not connected and time.monotonic() < deadline:
            answer = post(f"{server.url}/api/connections", {"users": ["alice"]})
            connected = answer["connections"] == {"alice": 1}
        assert connected
        message = {"participants": ["alice", "bob"], "content": "Hello from Bob"}
        post(f"{server.url}/api/messages", message, token)
        assert printed.readline() == "bob: Hello from Bob\n"


def test_the_group_shown_is_created_and_its_changes_are_printed(
    server: DevServer, tmp_path: Path
) -> None:
    with program_of_alice(server, tmp_path, only("python", "groups.create")) as printed:
        line = printed.readline()
        if line == "group: created\n":  # unless it was before there was a connection
            line = printed.readline()
        assert line == "membership: added\n"


@pytest.fixture(scope="module")
def development_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As a front end's: pages from another port of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Not to standard error."""

    folder = tmp_path_factory.mktemp("pages")
    (folder / "index.html").write_text("<!doctype html><title>an application</title>")
    (folder / "favicon.ico").touch()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as pages:
        thread = threading.Thread(target=pages.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://localhost:{pages.server_port}/"
        pages.shutdown()
        thread.join()


@pytest.mark.parametrize("where", ["its own page", "a page of a development server"])
async def test_the_browser_example_runs_as_pasted(
    where: str, server: DevServer, devtools: str, development_server: str
) -> None:
    address = f"{server.url}/docs" if where == "its own page" else development_server
    async with browser.new_page(devtools) as page:
        await page.open(address)
        pasted = here(only("js", "new WebSocket"), server)
        answer = await page.call(
            "Runtime.evaluate", expression=pasted, replMode=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, (answer, page.problems)
        acked = await page.frame("ack")
        await page.hear("sent", acked["id"])
        alice = str(post(f"{server.url}/api/dev/token", {"user": "alice"})["token"])
        message = {"participants": ["alice", "bob"], "content": f"seen on {where}?"}
        post(f"{server.url}/api/messages", message, alice)
        await page.hear("alice,bob", "alice", f"seen on {where}?")
        assert page.problems == []
