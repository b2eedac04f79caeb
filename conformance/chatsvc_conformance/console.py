"""The command line: its parser, and standard streams that are closed, full or not UTF-8."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

_INTERRUPTED: Final = 130
"""The exit status after Ctrl-C: 128 and SIGINT, as in shells."""
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class OneLineParser(argparse.ArgumentParser):
    """An ``argparse`` parser that reports an error as one line; the usage is left to ``--help``."""

    def error(self, message: str) -> NoReturn:
        """Print the line on standard error, and exit with 2."""
        text = " ".join(message.removeprefix("argument ").split())
        shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
        self.exit(2, f"{self.prog}: {shown} (see {self.prog} --help)\n")


def seconds(text: str) -> float:
    """Parse a number of seconds above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds above 0")
    return number


def open_streams() -> None:
    """Open the streams that the parent process has closed; let standard output take any text.

    Otherwise a socket that is opened later could get one of their numbers. What the encoding
    of standard output cannot express is written escaped.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def run_program(main: Callable[[], int], program: str) -> int:
    """Run the main function of a program, and return its exit status.

    1 if standard output cannot be written, with a line that says why; 2 if its reader has
    gone, because 1 would say that a check failed; 130 after Ctrl-C.
    """
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()  # here, where its errors can be dealt with
    except BrokenPipeError:
        _discard_output()
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as exc:
        if exc.errno not in _NO_SPACE:
            raise
        _discard_output()
        sys.stderr.write(f"{program}: standard output cannot be written: {exc.strerror}\n")
        return 1


def _discard_output() -> None:
    """Discard what is buffered: writing it at exit would be an error again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
