"""The wheel of ``chatsvc-conformance``, where no ``chatsvc`` can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import chatsvc
import chatsvc_conformance
from chatsvc_conformance.checks import ALL

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    done = run(*command, cwd=ROOT / "conformance")
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_package_and_the_contracts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        for path in sorted((ROOT / "contracts").rglob("*.json")):
            name = f"chatsvc_conformance/{path.relative_to(ROOT).as_posix()}"
            assert archive.read(name) == path.read_bytes()
    assert {name.partition("/")[0] for name in names} == {"chatsvc_conformance"}
    modules = (ROOT / "conformance").rglob("*.py")
    assert {path.relative_to(ROOT / "conformance").as_posix() for path in modules} <= names


def test_it_runs_without_the_server(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps")
    done = run(*pip, "--target", site, wheel, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # Without the module site no .pth file is read, and so nothing of this repository is found.
    python = (sys.executable, "-S")
    paths = os.pathsep.join((str(site), sysconfig.get_path("purelib")))
    done = run(*python, "-c", "import chatsvc", cwd=tmp_path, PYTHONPATH=paths)
    assert "No module named 'chatsvc'" in done.stderr
    command = (*python, "-m", "chatsvc_conformance")
    done = run(*command, "--list", cwd=tmp_path, PYTHONPATH=paths)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(ALL)
    code = "from chatsvc_conformance import contracts; print(contracts._folder())"
    done = run(*python, "-c", code, cwd=tmp_path, PYTHONPATH=paths)
    assert done.stdout.strip() == str(site / "chatsvc_conformance" / "contracts")


def test_its_version_is_that_of_the_server() -> None:
    assert chatsvc_conformance.__version__ == chatsvc.__version__
