"""A person at a terminal: types, and reads what has appeared."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pexpect

PATIENCE = 30.0
"""Seconds until what should have appeared is missed."""
COLUMNS, ROWS = 100, 30
ROOT = Path(__file__).resolve().parents[1]

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")


class Terminal:
    """A program in a pseudo-terminal of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = pexpect.spawn(
            command[0],
            list(command[1:]),
            cwd=ROOT,
            env={**environment, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"},
            encoding="utf-8",
            dimensions=(ROWS, COLUMNS),
            timeout=PATIENCE,
        )
        self._raw = ""

    @property
    def text(self) -> str:
        """All that has appeared so far, without colours and movements of the cursor."""
        return _ESCAPES.sub("", self._raw).replace("\r", "")

    def type(self, *lines: str) -> None:
        """Type lines, each with its Enter."""
        for line in lines:
            self._process.send(f"{line}\r")

    def see(self, text: str, *, times: int = 1) -> None:
        """Wait until it has appeared, so often altogether."""
        deadline = time.monotonic() + PATIENCE
        while self.text.count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.text}"
            try:
                self._raw += self._process.read_nonblocking(65536, timeout=0.2)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                assert self.text.count(text) >= times, f"it ended, no {text!r} in:\n{self.text}"

    def end(self) -> int | None:
        """Wait for the program's end; its exit status."""
        self._process.expect(pexpect.EOF)
        self._raw += self._process.before or ""
        self._process.close()
        status: int | None = self._process.exitstatus
        return status

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process.isalive():
            self._process.kill(signal.SIGKILL)
            self._process.wait()
        self._process.close()


class TmuxPane:
    """A program in tmux, which keeps the screen as a person would see it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = COLUMNS,
        rows: int = ROWS,
    ) -> None:
        tmux = shutil.which("tmux")
        assert tmux is not None
        # A server of its own, apart from any that the person at the machine has.
        self._tmux = [tmux, "-L", f"chatsvc-{uuid.uuid4().hex}", "-f", "/dev/null"]
        size = ["-x", str(columns), "-y", str(rows)]
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-s", "demo", *size, *command],
            cwd=ROOT,
            env={**environment, "TERM": "xterm-256color"},
            check=True,
            timeout=PATIENCE,
        )

    def type(self, text: str, *keys: str) -> None:
        """Type text as it is, then press keys by their names (``Enter``)."""
        if text:
            self._run("send-keys", "-t", "demo", "-l", text)
        if keys:
            self._run("send-keys", "-t", "demo", *keys)

    def lines(self) -> list[str]:
        """The screen's lines that are not empty."""
        shown = self._run("capture-pane", "-p", "-t", "demo")
        return [line.rstrip() for line in shown.splitlines() if line.strip()]

    def see(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Wait until it holds of the screen's lines."""
        deadline = time.monotonic() + PATIENCE
        while not condition(lines := self.lines()):
            assert time.monotonic() < deadline, "\n".join(["not on the screen:", *lines])
            time.sleep(0.05)
        return lines

    def kill(self) -> None:
        """End it, and tmux's server."""
        subprocess.run([*self._tmux, "kill-server"], check=False, timeout=PATIENCE)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        return done.stdout
