"""A command is run again when what it is made of changes, and ends with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chatsvc.cli import reloading
from chatsvc.cli.reloading import changed, stamp
from testkit.process import ROOT, environment

LIMIT = 60.0
CHILD = """\
import os, signal, sys, time
def stop(*_):
    print(os.getpid(), "stopped", flush=True)
    sys.exit(7)
signal.signal(getattr(signal, sys.argv[1]), stop)
print(os.getpid(), open(sys.argv[2]).read().strip(), flush=True)
if "fault" in open(sys.argv[2]).read():
    sys.exit(1)
while True:
    time.sleep(0.05)
"""
RUNNER = """\
import signal, sys
from pathlib import Path
from chatsvc.cli.reloading import run_and_restart
name, watched, *command = sys.argv[1:]
sys.exit(run_and_restart(command, [Path(watched)], stop_with=getattr(signal, name)))
"""


def test_what_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "package" / "sub").mkdir(parents=True)
    module = tmp_path / "package" / "sub" / "module.py"
    module.write_text("a = 1\n")
    (tmp_path / "package" / "page.html").write_text("page")
    (tmp_path / "package" / "module.pyc").write_text("compiled")
    env = tmp_path / ".env"
    env.write_text("A=1")
    watched = [tmp_path / "package", env, tmp_path / "not-there"]
    before = stamp(watched)
    assert [Path(name).name for name in sorted(before)] == [".env", "page.html", "module.py"]
    assert changed(before, stamp(watched)) == []
    (tmp_path / "package" / "module.pyc").write_text("compiled again")
    assert changed(before, stamp(watched)) == []
    module.write_text("a = 22\n")
    assert changed(before, stamp(watched)) == [str(module)]
    os.utime(module, ns=(1, 1))
    new = tmp_path / "package" / "new.py"
    new.touch()
    env.unlink()
    assert changed(before, stamp(watched)) == sorted(map(str, (module, new, env)))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_change_runs_it_again_and_a_signal_ends_both(tmp_path: Path, name: str) -> None:
    script, source, output = (tmp_path / one for one in ("child", "source.py", "output"))
    script.write_text(CHILD)
    source.write_text("first")

    def lines() -> list[list[str]]:
        return [line.split() for line in output.read_text().splitlines()]

    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, name, str(source),
             sys.executable, str(script), name, str(source)],
            cwd=ROOT, env=environment(), stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        wait_for(lambda: len(lines()) == 1)
        source.write_text("second with a fault")
        # The first was stopped; the second ended by itself, which ends nothing else.
        wait_for(lambda: len(lines()) == 3)
        assert [line[1] for line in lines()] == ["first", "stopped", "second"]
        source.write_text("third")
        wait_for(lambda: len(lines()) == 4)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 7, "the status of the last run"
        assert lines()[-1] == [lines()[-2][0], "stopped"]
        assert lines()[-2][1] == "third"
    finally:
        process.kill()
        process.wait()


def test_dev_with_reload_passes_its_flags_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from chatsvc.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PORT=1\n")
    seen: list[tuple[list[str], list[Path]]] = []

    def run(command: list[str], watched: list[Path]) -> int:
        seen.append((command, watched))
        return 0

    monkeypatch.setattr(reloading, "run_and_restart", run)
    argv = ["--port", "0", "--data-dir", "d", "--store", "sqlite", "--env-file", ".env"]
    assert main(["dev", "--reload", *argv]) == 0
    ((command, watched),) = seen
    assert command == [sys.executable, "-m", "chatsvc", "dev", *argv]
    assert watched == [ROOT / "chatsvc", Path(".env")]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
