"""Standard streams of the command lines: closed, full, or of another encoding than UTF-8."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Final

INTERRUPTED: Final = 130
"""The exit status after Ctrl-C: 128 and SIGINT, as in shells."""

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def open_streams() -> None:
    """Open the streams that the parent process has closed; let standard output take any text.

    Otherwise a file that is opened later, such as the log, could get one of their numbers and
    receive what is written to standard error. What the encoding of standard output cannot
    express is written escaped, as Python does for standard error.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def run_program(main: Callable[[], int], program: str, *, closed_pipe: int = 1) -> int:
    """Run the main function of a program, and return its exit status.

    1 if standard output cannot be written, with a line that says why; ``closed_pipe`` if its
    reader has gone; 130 after Ctrl-C.
    """
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()  # here, where its errors can be dealt with
    except BrokenPipeError:
        _discard_output()
        return closed_pipe
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as exc:
        if exc.errno not in _NO_SPACE:
            raise
        _discard_output()
        sys.stderr.write(f"{program}: standard output cannot be written: {exc.strerror}\n")
        return 1


def _discard_output() -> None:
    """Discard what is buffered: writing it at exit would be an error again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
