"""Decisions on the same keys, appended in the order in which they were asked for.

A decision that is stale is made again, and one that was asked for later must not be appended
meanwhile: it would overtake the first. The log tells that a decision is stale some steps after the
head has moved on. So what is asked for while others on the same keys wait is appended as of their
position, which may be below the head: where one of them is stale, so are all that follow. When the
log has told the last of them, those that are stale are decided again, in their order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from chatsvc.core.errors import Stale
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended, LogAppender
from chatsvc.log.guards import Guard
from chatsvc.log.turns import busy

Decide = Callable[[], tuple[Sequence[Draft], Guard]]


class _Request:
    """One that has no answer yet."""

    __slots__ = ("decide", "future", "until")

    def __init__(self, decide: Decide, until: float, future: asyncio.Future[Appended]) -> None:
        self.decide = decide
        self.until = until
        self.future = future


class _Line:
    """The requests on some keys that have no answer, in the order in which they were asked for.

    Attributes:
        as_of: the position by which those in the log were decided.
        in_log: how many of them the log has not told.
        is_stale: whether one of them is: then none is appended until the log has told all.
    """

    __slots__ = ("as_of", "in_log", "is_stale", "requests")

    def __init__(self, as_of: int) -> None:
        self.as_of = as_of
        self.in_log = 0
        self.is_stale = False
        self.requests: dict[_Request, None] = {}


class InOrder:
    """Appends decisions of one draft each; see the module's text.

    Args:
        log: where what is decided goes.
        clock: seconds that only go up.
    """

    def __init__(self, log: LogAppender, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._lines: dict[tuple[str, ...], _Line] = {}

    def decide(self, decide: Decide, seconds: float) -> asyncio.Future[Appended]:
        """Decide at once, and append as soon as nobody is overtaken.

        The arguments, results and errors are those of
        :meth:`~chatsvc.log.deciding.Deciding.decide_in_order`.
        """
        drafts, guard = decide()
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        request = _Request(decide, self._clock() + seconds, future)
        line = self._lines.get(guard.keys) or _Line(guard.as_of)
        if line.is_stale:
            line.requests[request] = None
        else:
            self._append(line, request, drafts, guard)
            self._lines[guard.keys] = line
        return future

    def _append(self, line: _Line, request: _Request, drafts: Sequence[Draft], of: Guard) -> None:
        guard = Guard(min(line.as_of, of.as_of), of.keys)
        appended = self._log.append_all(drafts, guard)
        appended.add_done_callback(partial(self._settle, guard.keys, line, request))
        line.requests[request] = None
        line.in_log += 1

    def _settle(
        self,
        keys: tuple[str, ...],
        line: _Line,
        request: _Request,
        appended: asyncio.Future[list[Appended]],
    ) -> None:
        line.in_log -= 1
        error, future = appended.exception(), request.future
        if isinstance(error, Stale):
            line.is_stale = True
        else:
            del line.requests[request]
            if not future.done():  # its caller may have gone away meanwhile
                if error is None:
                    future.set_result(appended.result()[0])
                else:
                    future.set_exception(error)
        if not line.in_log:
            self._decide_again(keys, line)

    def _decide_again(self, keys: tuple[str, ...], line: _Line) -> None:
        """The log has told all: append those anew that have no answer."""
        waiting, now = list(line.requests), self._clock()
        line.requests.clear()
        line.is_stale = False
        for request in waiting:
            future = request.future
            if future.done():
                continue
            if now >= request.until:
                future.set_exception(busy())
                continue
            try:
                drafts, guard = request.decide()
                if not line.in_log:
                    line.as_of = guard.as_of
                self._append(line, request, drafts, guard)
            except Exception as exc:  # noqa: BLE001 - the caller raises it
                future.set_exception(exc)
        if not line.in_log:
            del self._lines[keys]

    def __len__(self) -> int:
        """Return on how many sets of keys somebody waits."""
        return len(self._lines)
