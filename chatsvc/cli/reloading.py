"""``chatsvc dev --reload``: run the service as a child, and restart it on source changes.

For the development of chatsvc. Checking a few hundred modification times twice a second is
cheap, and needs no library for the file notifications of each system.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import chatsvc
from chatsvc.cli.options import path_of

POLL_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 30.0
_SOURCES: Final = frozenset({".py", ".html", ".js", ".css"})

Stamp = dict[str, tuple[int, int]]


def stamp(paths: Iterable[Path]) -> Stamp:
    """Return modification time and size of each file, and of the sources in each folder."""
    found: Stamp = {}
    for path in paths:
        files = path.rglob("*") if path.is_dir() else [path]
        for file in files:
            if file != path and file.suffix not in _SOURCES:
                continue
            try:
                state = file.stat()
            except OSError:  # removed after it was listed
                continue
            found[str(file)] = (state.st_mtime_ns, state.st_size)
    return found


def changed(before: Stamp, after: Stamp) -> list[str]:
    """Return the files that were added, removed or written, sorted."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def serve_and_reload(arguments: argparse.Namespace) -> int:
    """Run ``chatsvc dev`` with the same arguments, and restart it at each change.

    A child that ends by itself is started again at the next change, so that an error in the
    source can be fixed.

    Returns:
        The exit status of the last run.
    """
    watched = [Path(chatsvc.__file__).parent]
    if arguments.env_file:
        watched.append(path_of("--env-file", arguments.env_file))
    command = [sys.executable, "-m", "chatsvc", "dev", *_flags(arguments)]
    return run_and_restart(command, watched)


def _flags(arguments: argparse.Namespace) -> list[str]:
    flags: list[str] = []
    for name in ("host", "port", "data_dir", "store", "env_file"):
        value = getattr(arguments, name)
        if value is not None:
            flags += [f"--{name.replace('_', '-')}", value]
    return flags


def run_and_restart(
    command: list[str], watched: list[Path], *, stop_with: int = signal.SIGTERM
) -> int:
    """Run a command, and again at each change under ``watched``, until SIGINT or SIGTERM.

    Args:
        stop_with: the signal that ends the command.

    Returns:
        The status of the last run.
    """
    with _stopping() as stop:
        while True:
            before = stamp(watched)
            child = subprocess.Popen(command)
            try:
                _until_change(watched, before, stop)
            finally:
                status = _end(child, stop_with)
            if stop.is_set():
                return status if status >= 0 else 128 - status


def _until_change(watched: list[Path], before: Stamp, stop: threading.Event) -> None:
    """Return when a file has changed, or when ``stop`` is set."""
    while not stop.wait(POLL_SECONDS):
        names = changed(before, stamp(watched))
        if names:
            _print_notice(f"{os.path.relpath(names[0])} changed, restarting")
            return


def _end(child: subprocess.Popen[bytes], number: int) -> int:
    if child.poll() is None:
        child.send_signal(number)
    try:
        return child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set.

    Ctrl-C reaches the child as well, which ignores this process's SIGTERM as a duplicate.
    """
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_notice(text: str) -> None:
    sys.stderr.write(f"chatsvc: {text}\n")
    sys.stderr.flush()
