"""Why nothing is accepted now, and what is done about it."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from chatsvc.core.errors import LogUnavailable
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.in_place import InPlace
from chatsvc.log.local.worker import Worker

LOCKED: Final = "locked"
DISK: Final = "disk"
MISSING: Final = "missing"

_ASK_SECONDS: Final = 0.25

_logger = structlog.get_logger("chatsvc.log")


class Refusals:
    """Causes that begin and end each by its own; ``first`` is what a send is answered with."""

    def __init__(self) -> None:
        self._errors: dict[str, LogUnavailable] = {}
        self.first: LogUnavailable | None = None

    def begin(self, cause: str, error: LogUnavailable) -> bool:
        """Refuse from now on; whether this cause is new."""
        new = cause not in self._errors
        self._errors[cause] = error
        self.first = next(iter(self._errors.values()))
        return new

    def end(self, cause: str) -> bool:
        """Whether this cause was there until now."""
        was = self._errors.pop(cause, None) is not None
        self.first = next(iter(self._errors.values()), None)
        return was

    def __contains__(self, cause: str) -> bool:
        return cause in self._errors


class LockWatch:
    """While another process holds the log's file, every send is refused at once.

    Without this each commit would wait its turn and its time for the lock. Every quarter of a
    second the lock is asked for, and given back, until it is there.
    """

    def __init__(self, file: LogFile, worker: Worker, refusals: Refusals) -> None:
        self._file = file
        self._worker = worker
        self._refusals = refusals
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def found_locked(self, error: LogUnavailable) -> None:
        """A commit did not get the lock."""
        if self._refusals.begin(LOCKED, error):
            _logger.error("log_locked", path=str(self._file.path))
            self._ask_later()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _ask_later(self) -> None:
        if not self._stopped:
            self._timer = self._loop.call_later(_ASK_SECONDS, self._worker.maintain, self._ask)

    def _ask(self) -> None:
        """In the log's thread."""
        try:
            free = self._file.is_free()
        except LogUnavailable as exc:
            _logger.warning("log_lock_unknown", error=str(exc))
            free = False
        self._loop.call_soon_threadsafe(self._asked, free)

    def _asked(self, free: bool) -> None:
        if not free:
            self._ask_later()
        elif self._refusals.end(LOCKED):
            _logger.info("log_lock_released", path=str(self._file.path))


def watch_place(place: InPlace, refusals: Refusals) -> None:
    """Refuse sends while the log's file is not where it was opened.

    The process goes on: what it accepted and has not stored yet is in its memory and in a file
    that nobody can open again, and the store may still get it. Ending would lose that.
    """
    try:
        found = place.find_error()
    except OSError as exc:
        _logger.error("log_file_unknown", error=str(exc))
        return
    if found is None:
        if refusals.end(MISSING):
            _logger.warning("log_file_back")
        return
    error = LogUnavailable(
        "the log's file was removed or replaced under the running service",
        code="log_file_missing",
        retry_after=5.0,
    )
    if refusals.begin(MISSING, error):
        _logger.critical("log_file_missing", error=found, remedy=_REMEDY)


_REMEDY: Final = (
    "put the file back where it was, or stop the service once backlog_messages is 0 and start it "
    "again: it stores what it has accepted as long as it runs"
)
