"""The frame of the command line: quick to start, one line for an error that a person can fix."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

from chatsvc import __version__
from chatsvc.cli import config, main
from chatsvc.core.errors import (
    ConfigurationError,
    LogDamaged,
    StoreUnavailable,
    VersionTooNew,
)

HEAVY = ("aiohttp", "motor", "pymongo", "structlog", "cryptography", "jwt", "asyncio")


def loaded_by(*argv: str) -> tuple[int, str, set[str]]:
    """Run a command in a process of its own: its status, output, and which heavy modules."""
    code = (
        "import sys; from chatsvc.cli import main\n"
        "try: status = main(sys.argv[1:])\n"
        "except SystemExit as exc: status = exc.code\n"
        f"print('loaded', *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=60, check=False
    )
    last = done.stderr.splitlines()[-1].split()
    assert last[0] == "loaded", done.stderr
    return done.returncode, done.stdout, set(last[1:])


def test_the_version_is_said_without_loading_what_serves() -> None:
    assert loaded_by("--version") == (0, f"chatsvc {__version__}\n", set())


def test_the_health_check_loads_nothing_that_serves() -> None:
    status, _, loaded = loaded_by("healthcheck", "--url", "http://127.0.0.1:1")
    assert (status, loaded) == (1, set())


def test_it_is_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chatsvc", "--version"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == f"chatsvc {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ([], "chatsvc: the following arguments are required: COMMAND"),
        (["sing"], "chatsvc: COMMAND: invalid choice: 'sing'"),
        (["token"], "chatsvc token: the following arguments are required: USER"),
        (["backup"], "chatsvc backup: the following arguments are required: DIR"),
        (["restore", "--data-dir"], "chatsvc restore: --data-dir: expected one argument"),
        (["dead-letters"], "chatsvc dead-letters: the following arguments are required: ACTION"),
        (["dead-letters", "show"], "chatsvc dead-letters show: the following arguments"),
        (["dead-letters", "drop"], "chatsvc dead-letters drop: the following arguments"),
        (["log", "verify", "x"], "chatsvc: unrecognized arguments: x"),
        (["serve", "--no-such"], "chatsvc: unrecognized arguments: --no-such"),
        (["healthcheck", "x"], "chatsvc: unrecognized arguments: x"),
        (
            ["healthcheck", "two\nlines\x1b[31m"],
            r"chatsvc: unrecognized arguments: two lines\x1b[31m",
        ),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(
    argv: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(error)
    assert captured.err.endswith("--help)\n")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["serve", "dev", "token", "config", "migrate", "dead-letters", "projections", "healthcheck"],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"chatsvc {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("PORT: is\nno good"), 2),
        (VersionTooNew("PORT: is  no good"), 2),
        (LogDamaged("PORT: is no good"), 2),
        (StoreUnavailable("PORT: is no good"), 1),
    ],
)
def test_an_error_that_can_be_fixed_is_one_line(
    error: Exception,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_arguments: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(config, "config", fail)
    assert main(["config"]) == status
    captured = capsys.readouterr()
    assert captured.err == "chatsvc: PORT: is no good\n"
    assert captured.out == ""


def test_what_is_a_fault_of_ours_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_arguments: argparse.Namespace) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(config, "config", fail)
    with pytest.raises(ZeroDivisionError):
        main(["config"])


def test_a_reader_that_left_gets_no_stack_trace() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "chatsvc", "config"],
            stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
