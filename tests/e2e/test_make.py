"""What ``make`` says on machines that lack something, and that it does nothing twice."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "make", "dirname", "sed", "touch", "grep", "expand")

BROKEN_SHIM = "#!/bin/sh\necho 'shim: command not found' >&2\nexit 127\n"
TOO_OLD = """#!/bin/sh
code=$2
exec {real} -c "import sys; sys.version_info = (3, 9, 2, 'final', 0); $code"
"""
WITHOUT_VENV = """#!/bin/sh
if [ "$1" = -m ]; then echo "the venv module was run" >&2; exit 1; fi
code=$2
exec {real} -c "import sys; sys.modules['ensurepip'] = None; $code"
"""
# Stands for a good Python: answers every question truly, and makes an empty environment.
GOOD = """#!/bin/sh
if [ "$1" = -m ]; then echo "$0 makes $4"; exit 77; fi
exec {real} "$@"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder with the tools that make needs and no Python: meant to be the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    return folder


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(script.replace("{real}", sys.executable))
    program.chmod(0o755)


def make(target: str, path: Path, venv: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", target, f"VENV={venv}"],
        cwd=ROOT,
        env={"PATH": str(path), "LC_ALL": "C", **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that is not make's own."""
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("target", ["run", "test", "demo"])
def test_without_python_it_says_which_to_install(path: Path, tmp_path: Path, target: str) -> None:
    line = complaint(make(target, path, tmp_path / "venv"))
    assert "Python 3.11 or newer is needed and none was found" in line


def test_a_too_old_python_is_named_with_its_version(path: Path, tmp_path: Path) -> None:
    install(path, "python3", TOO_OLD)
    line = complaint(make("run", path, tmp_path / "venv"))
    assert "3.11 or newer is needed and python3 is 3.9" in line
    assert "make PYTHON=" in line


def test_a_missing_venv_module_is_named_with_its_package(path: Path, tmp_path: Path) -> None:
    install(path, "python3", WITHOUT_VENV)
    line = complaint(make("run", path, tmp_path / "venv"))
    mine = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    assert f"apt-get install {mine}" in line


def test_a_python_that_was_named_and_does_not_run(path: Path, tmp_path: Path) -> None:
    install(path, "python3", GOOD)
    line = complaint(make("run", path, tmp_path / "venv", PYTHON="/nowhere/python3"))
    assert "PYTHON=/nowhere/python3 does not run" in line


def test_the_newest_python_that_runs_is_taken(path: Path, tmp_path: Path) -> None:
    install(path, "python3.13", BROKEN_SHIM)
    install(path, "python3.12", WITHOUT_VENV)
    install(path, "python3.11", GOOD)
    install(path, "python3", TOO_OLD)
    done = make("run", path, tmp_path / "venv")
    assert f"python3.11 makes {tmp_path / 'venv'}" in done.stdout


@pytest.mark.parametrize(("target", "stamp"), [("run", ".run"), ("demo", ".run"), ("lint", ".dev")])
def test_what_is_installed_is_not_installed_again(tmp_path: Path, target: str, stamp: str) -> None:
    def plan() -> str:
        done = subprocess.run(
            ["make", "--dry-run", target, f"VENV={tmp_path}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    assert "scripts/environment.sh" in plan()
    (tmp_path / stamp).touch()
    assert "scripts/environment.sh" not in plan()


@pytest.mark.parametrize("there", [True, False])
def test_run_reads_an_env_file_where_there_is_one(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / ".env").write_text("PORT=0\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / ".run").touch()
    done = subprocess.run(
        ["make", "--dry-run", "-f", str(ROOT / "Makefile"), "run", f"VENV={tmp_path / 'venv'}",
         "-o", str(tmp_path / "venv" / ".run")],
        cwd=tmp_path, env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ("chatsvc dev --env-file .env" in done.stdout) is there


def test_a_taken_port_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    """Through ``make run``, in an environment that stands as if installed."""
    (tmp_path / "bin").mkdir()
    install(tmp_path / "bin", "python", '#!/bin/sh\nexec {real} "$@"\n')
    (tmp_path / ".run").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            ["make", "--no-print-directory", "run", f"VENV={tmp_path}", f"PORT={port}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    line = complaint(done)
    assert str(port) in line
    assert "in use by another program" in line
    assert f"PORT={port + 1}" in line or f"PORT={port - 1}" in line


def test_help_names_every_target(path: Path, tmp_path: Path) -> None:
    done = make("help", path, tmp_path / "venv")
    for target in (
        "run",
        "test",
        "watch",
        "demo",
        "lint",
        "fault",
        "bench",
        "autobahn",
        "lock",
        "clean",
    ):
        assert f"\n{target} " in "\n" + done.stdout
