"""Command lines whose errors are one line, like those of settings."""

from __future__ import annotations

import argparse
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """An ``argparse`` parser that reports an error as one line that names the argument.

    The usage, which may take many lines, is left to ``--help``. The exit status is 2.
    """

    def error(self, message: str) -> NoReturn:
        """Print the line on standard error, and exit."""
        text = " ".join(message.removeprefix("argument ").split())
        self.exit(2, f"{self.prog}: {_printable(text)} (see {self.prog} --help)\n")


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number above 0")
    return number


def seconds(text: str) -> float:
    """Parse a number of seconds above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds above 0")
    return number


def _printable(text: str) -> str:
    """Return the text with control characters and the like escaped."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
