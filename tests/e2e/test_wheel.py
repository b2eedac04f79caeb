"""The wheel, alone in a clean environment outside the tree: does it serve?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from testkit.dev_server import DevServer, dev_server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment that holds the wheel and what it needs, as locked."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    binaries = folder / "venv" / "bin"
    pip = (binaries / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
    run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "run.txt", cwd=folder)
    run(*pip, "--no-deps", wheel, cwd=folder)
    run(binaries / "python", "-m", "pip", "check", cwd=folder)
    return binaries


@pytest.fixture(scope="module")
def server(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with dev_server([installed / "chatsvc"], folder / "data", folder, {}) as running:
        yield running
    assert running.process.returncode == 0, running.output


def get(url: str, token: str | None = None, body: object = None) -> tuple[int, str, bytes]:
    """Status, media type and body."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, answer.headers.get_content_type(), answer.read()


def test_the_wheel_holds_both_packages_and_what_they_carry(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"chatsvc", "demo_cli"}
    assert not any("conformance" in name for name in names)  # a distribution of its own
    assert "chatsvc/py.typed" in names
    tracked = run("git", "ls-files", "chatsvc", "demo_cli", cwd=ROOT).split()
    assert set(tracked) <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_commands_are_there(installed: Path, tmp_path: Path) -> None:
    version = run(installed / "chatsvc", "--version", cwd=tmp_path)
    assert re.fullmatch(r"chatsvc \d+\.\d+\.\d+\n", version)
    # Nothing of the tree is in reach: what runs is what was installed.
    where = run(installed / "python", "-c", "import chatsvc; print(chatsvc.__file__)", cwd=tmp_path)
    assert where.startswith(str(installed.parent))


def test_the_demo_says_what_it_lacks(installed: Path, tmp_path: Path) -> None:
    """The wheel alone lacks what the extra brings: one line says how to install it."""
    done = subprocess.run(
        [installed / "chatsvc-demo"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "chatsvc[demo]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_message_is_sent_and_read(server: DevServer) -> None:
    token = json.loads(get(f"{server.url}/api/dev/token", body={"user": "alice"})[2])["token"]
    message = {"participants": ["alice", "bob"], "content": "Hello from the wheel"}
    status, _, sent = get(f"{server.url}/api/messages", token, message)
    assert status == 201
    _, _, page = get(f"{server.url}/api/messages/get?participants=alice,bob", token)
    assert json.loads(page)["messages"] == [json.loads(sent)]


def test_the_documentation_has_all_its_assets(server: DevServer) -> None:
    status, media, page = get(f"{server.url}/docs")
    assert (status, media) == (200, "text/html")
    found = re.findall(r'(?:src|href)="([^"#]+)"', page.decode())
    assert found
    for address in found:
        assert not re.match(r"(https?:)?//", address), f"{address} is on another host"
        status, _, body = get(urljoin(f"{server.url}/docs", address))
        assert status == 200, address
        assert body, address


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json"])
def test_the_interface_describes_itself(server: DevServer, path: str) -> None:
    status, _, body = get(server.url + path)
    assert status == 200
    assert json.loads(body)["info"]["title"]


def test_what_does_not_exist_is_told_as_a_problem(server: DevServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(f"{server.url}/nowhere")
    with caught.value as answer:
        assert answer.code == 404
        assert json.loads(answer.read())["status"] == 404
