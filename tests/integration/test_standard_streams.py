"""Programs whose standard streams are full, interrupted, or of another encoding than UTF-8."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.process import ROOT, command, running

EMOJI = "caf\u00e9 \U0001f600"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of ``chatsvc dev``, with a message of bob's to alice."""
    folder = tmp_path_factory.mktemp("dev")
    with running(folder, "dev", "--port", "0", "--data-dir", str(folder / "data")) as process:
        url = process.wait_for(r"listens on (http://\S+)")[1]
        done = demo(url, "send", "--user", "bob", "alice,bob", EMOJI)
        assert done.returncode == 0, done.stderr
        yield url


def environment(server: str, variables: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "CHATSVC_URL": server, **variables}


def demo(
    server: str, *argv: str | bytes, data: bytes = b"", out: Any = subprocess.PIPE,
    **variables: str,
) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    """``python -m demo_cli …`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "demo_cli", *argv], input=data, stdout=out, stderr=subprocess.PIPE,
        env=environment(server, variables), timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_what_another_user_wrote_does_not_end_history(server: str, encoding: str) -> None:
    done = demo(server, "history", "--user", "alice", "alice,bob", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\U0001f600" in done.stdout


def test_it_does_not_end_listen_either(server: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "demo_cli", "listen", "--user", "carol", "--count", "2"],
        env=environment(server, {"PYTHONIOENCODING": "latin-1"}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as listener:  # fmt: skip
        assert listener.stderr is not None
        assert b"connected" in listener.stderr.readline()
        for text in (EMOJI, "second"):
            demo(server, "send", "--user", "bob", "bob,carol", text)
        out, err = listener.communicate(timeout=60)
    assert (listener.returncode, err) == (0, b"")
    assert b"second" in out


@pytest.mark.parametrize(
    ("argv", "data"),
    [
        (["send", "--user", "alice", "alice,bob", b"caf\xe9"], b""),
        (["send", "--user", "alice", "alice,bob", "-"], b"caf\xe9"),
        (["send", "--user", "alice", b"alice,caf\xe9", "x"], b""),
        (["who", "--user", "alice", b"caf\xe9"], b""),
    ],
)
def test_input_in_another_encoding_is_a_wrong_argument(
    server: str, argv: list[str | bytes], data: bytes
) -> None:
    done = demo(server, *argv, data=data, LC_ALL="C")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count(b"\n") == 1
    assert b"must be" in done.stderr


@pytest.mark.parametrize("lines", [b"2\nbob\ncaf\xe9\n7\n7\n", b"5\ncaf\xe9\nbob\n7\n"])
def test_the_menu_asks_again_for_input_in_another_encoding(server: str, lines: bytes) -> None:
    done = demo(server, "--user", "alice", data=lines, LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"must be text of the terminal's encoding" in done.stdout


@pytest.mark.parametrize("token", ["a b", "caf\u00e9", "\n"])
def test_a_token_that_cannot_be_one_is_a_wrong_argument(server: str, token: str) -> None:
    done = demo(server, "send", "alice,bob", "x", CHATSVC_TOKEN=token)
    assert done.returncode == 2
    assert done.stderr == b"chatsvc-demo: the token must be ASCII without spaces\n"


@pytest.mark.parametrize(
    "argv",
    [
        ["chatsvc", "config"],
        ["chatsvc", "token", "alice"],
        ["demo_cli", "history", "--user", "alice", "alice,bob"],
        ["chatsvc_conformance", "--list"],
    ],
)
def test_a_full_disk_is_one_line(server: str, argv: list[str], tmp_path: Path) -> None:
    variables = environment(server, {"JWT_SECRET": "x" * 40, "DATA_DIR": str(tmp_path)})
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", *argv], stdout=full, stderr=subprocess.PIPE, env=variables,
            text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith("standard output cannot be written: No space left on device\n")
    assert done.stderr.count("\n") == 1


def test_config_on_a_terminal_that_is_not_utf8(tmp_path: Path) -> None:
    done = command(tmp_path, "config", DATA_DIR="donn\u00e9es", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "donn\\xe9es" in done.stdout


def test_a_reader_of_the_conformance_tool_that_goes_away(server: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "chatsvc_conformance", server, "--only", "refuse"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as tool:  # fmt: skip
        assert tool.stdout is not None
        assert tool.stderr is not None
        tool.stdout.readline()
        tool.stdout.close()
        err = tool.stderr.read()
        assert (tool.wait(60), err) == (2, b""), "1 would say that a check failed"


@pytest.mark.parametrize(
    "argv", [["--user", "alice"], [], ["send", "--user", "alice", "alice,bob", "-"]]
)
def test_one_ctrl_c_ends_what_reads_standard_input(server: str, argv: list[str]) -> None:
    """Also where the output is piped, as in ``demo_cli | tee log``."""
    master, slave = pty.openpty()
    os.write(master, b"a line\n")
    while not _unread(slave):  # the kernel hands it on in its own time
        os.sched_yield()
    with subprocess.Popen(
        [sys.executable, "-m", "demo_cli", *argv], env=environment(server, {}), stdin=slave,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - the parent of these tests has one thread
    ) as program:  # fmt: skip
        while _unread(slave):  # it reads, and nothing more comes
            os.sched_yield()
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=30)
    os.close(slave)
    os.close(master)
    assert program.returncode == 130
    assert b"Traceback" not in err


def _heed_interrupts() -> None:
    """As in a terminal: a shell starts what runs in the background with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _unread(terminal: int) -> int:
    count = fcntl.ioctl(terminal, termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(count, sys.byteorder)
