"""Exit statuses, for scripts to go by."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit statuses."""

    OK = 0
    REFUSED = 1
    """The server refused; the line on standard error says why."""
    USAGE = 2
    """Wrong arguments, no token to be had, or a package that is missing."""
    UNREACHABLE = 3
    """No answer from the server."""
    TIMED_OUT = 4
    """``listen``: the time was up before so many messages had come."""
    CLOSED_PIPE = 141
    """Nobody reads the output: 128 and SIGPIPE, as shells have it."""


class Failure(Exception):
    """Ends the program with one line on standard error."""

    def __init__(self, text: str, status: Exit) -> None:
        super().__init__(text)
        self.exit = status
