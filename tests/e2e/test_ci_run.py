"""What ``.ci/run`` prints last and ends with, around a ``make`` that stands for the real one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "env", "dirname", "head", "awk", "id", "readlink", "cat")
INSTALLED = ("git", "tmux", "strace", "nginx", "chromium", "python3")
PASSED = "===== 3116 passed, 5 skipped in 301.04s (0:05:01) ====="
FAILED = "=== 1 failed, 3115 passed, 5 skipped, 2 errors in 299.00s (0:04:59) ==="


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder that is the whole PATH: everything that is needed seems to be installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    for name in INSTALLED:
        program(folder, name, "exit 0")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!{shutil.which('bash')}\n{script}\n")
    file.chmod(0o755)


def ci_run(path: Path, make: str) -> subprocess.CompletedProcess[str]:
    """With ``make`` as the script of that name; both outputs in one, as a terminal has them."""
    program(path, "make", make)
    return subprocess.run(
        [ROOT / ".ci" / "run"],
        env={"PATH": str(path), "CHATSVC_TEST_MONGO_URI": "mongodb://127.0.0.1:1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_last_line_is_the_count_of_tests(path: Path) -> None:
    done = ci_run(path, f'echo "All checks passed!"; echo "{PASSED}"')
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[-1] == PASSED
    assert lines.count(PASSED) == 1
    assert "All checks passed!" in lines


def test_a_failure_keeps_its_status_and_its_count_comes_last(path: Path) -> None:
    make = f'echo "{FAILED}"; echo "make: *** [Makefile:26: test] Error 1" >&2; exit 2'
    done = ci_run(path, make)
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    assert lines[-1] == FAILED
    assert "make: *** [Makefile:26: test] Error 1" in lines


def test_without_a_count_the_status_tells(path: Path) -> None:
    done = ci_run(path, 'echo "Found 3 errors." ; exit 2')
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "Found 3 errors."


def test_make_test_runs_pytest_once_and_last() -> None:
    """Another run after it would end the output with a count of its own."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "test", "ARGS=-k one"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    runs = [line for line in done.stdout.splitlines() if re.search(r"-m pytest\b", line)]
    assert runs == [done.stdout.splitlines()[-1]]
    assert runs[0].endswith("-k one")
