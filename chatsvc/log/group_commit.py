"""Group commit, in front of every kind of log.

All that arrives while a commit is under way goes into the next one, so the cost of
making things durable is shared by as many as there are, and nobody waits for company.
Ids follow the order of arrival. Retries of one key meet here, in flight or later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeGuard

import structlog

from chatsvc.core.errors import ChatError, Conflict, LogUnavailable, TooManyRequests
from chatsvc.core.record import Draft, Record
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.backlog import Backlog
from chatsvc.log.base import Appended, repeat_of
from chatsvc.log.idempotency import Key, KeyWindow

COMMIT_RECORDS: Final = 256
COMMIT_BYTES: Final = 4 * 1024 * 1024

_logger = structlog.get_logger("chatsvc.log")

Outcome = Record | ChatError
"""What became of one draft of a commit: its record, durable, or why it alone was refused."""
Done = Callable[[Sequence[Outcome]], None]
"""Called with one outcome for each draft, in their order; ids of the records only go up."""
Write = Callable[[list[Draft], Done], None]
Accepted = Callable[[Sequence[Record], Sequence[int]], None]


class _Waiting(NamedTuple):
    """A message that waits to be durable.

    ``followers``: retries that came before the first was durable. They wait for the write, not
    for the first's caller, who may go away. ``size`` is what it counts for in the backlog.
    """

    draft: Draft
    key: Key | None
    size: int
    future: asyncio.Future[Appended]
    followers: list[tuple[Draft, asyncio.Future[Appended]]]


class GroupCommit:
    """Collects drafts, hands them to ``write`` a batch at a time, resolves their futures.

    Args:
        write: makes a batch durable and calls back, on the loop, with one outcome for each
            draft, in their order. That a draft is refused says nothing of the others.
        accepted: told of the durable records of a batch, and of the sizes with which they count
            in the backlog, before their futures resolve.
        keys: the memory that tells a retry from something new.
        admit: what a draft counts for in the backlog, in bytes; raises
            :class:`LogUnavailable` while nothing may be taken, :class:`TooManyRequests` while
            nothing may be taken of this sender.
        backlog: told of what waits.
    """

    def __init__(
        self,
        write: Write,
        accepted: Accepted,
        keys: KeyWindow,
        admit: Callable[[Draft], int],
        backlog: Backlog,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._write = write
        self._accepted = accepted
        self._admit = admit
        self._backlog = backlog
        self.keys = keys
        self.acknowledgements = Acknowledgements()
        self._queue: deque[_Waiting] = deque()
        self._in_flight: dict[Key, _Waiting] = {}
        self._batch: list[_Waiting] = []
        self._scheduled = False
        self._idle: asyncio.Future[None] | None = None
        self.repeats = 0
        """Appends whose key was used already."""

    def append(self, draft: Draft) -> asyncio.Future[Appended]:
        """See :meth:`chatsvc.log.base.LogAppender.append`."""
        future: asyncio.Future[Appended] = self._loop.create_future()
        key = draft.key
        if key is not None:
            known = self.keys.get(key)
            if known is not None:
                self.repeats += 1
                _repeat(future, draft, known.id, known.digest)
                return future
            first = self._in_flight.get(key)
            if first is not None:
                self.repeats += 1
                first.followers.append((draft, future))
                return future
        try:
            size = self._admit(draft)
        except (LogUnavailable, TooManyRequests) as exc:
            future.set_exception(exc)
            return future
        waiting = _Waiting(draft, key, size, future, [])
        if key is not None:
            self._in_flight[key] = waiting
        self._queue.append(waiting)
        self._backlog.add(draft.sender, size)
        if not self._scheduled and not self._batch:
            # At the end of this turn of the loop: what else arrives in it shares the commit.
            self._scheduled = True
            self._loop.call_soon(self._start)
        return future

    def in_flight(self, key: Key) -> bool:
        """Whether a draft of this key is queued or being written."""
        return key in self._in_flight

    async def drained(self) -> None:
        """Return once nothing is queued or being written."""
        while self._queue or self._batch:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    def _start(self) -> None:
        self._scheduled = False
        batch = self._batch
        size = 0
        while self._queue and len(batch) < COMMIT_RECORDS and size < COMMIT_BYTES:
            waiting = self._queue.popleft()
            batch.append(waiting)
            size += len(waiting.draft.rest)
        if batch:
            try:
                self._write([waiting.draft for waiting in batch], self._done)
            except Exception:
                # Whatever it is, it must not leave this batch in flight for ever.
                _logger.exception("commit_not_started", records=len(batch))
                error = LogUnavailable("the log cannot write")
                self._loop.call_soon(self._done, [error] * len(batch))
        elif self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _done(self, outcomes: Sequence[Outcome]) -> None:
        batch, self._batch = self._batch, []
        self._start()  # first of all: the disk works while we answer
        if len(outcomes) != len(batch):
            # A fault of who writes: which outcome is whose cannot be told.
            _logger.error("commit_outcomes_wrong", outcomes=len(outcomes), records=len(batch))
            outcomes = [_unknown()] * len(batch)
        try:
            if _are_records(outcomes):
                records = outcomes
            else:
                batch, records = self._answer_refused(batch, outcomes)
                if not records:
                    return
            keys = self.keys
            for waiting, record in zip(batch, records, strict=True):
                key = waiting.key
                if key is not None:
                    keys.add(key, record.id, record.digest)
                    self._in_flight.pop(key, None)
            with self.acknowledgements:
                self._accepted(records, [waiting.size for waiting in batch])
                for waiting, record in zip(batch, records, strict=True):
                    if not waiting.future.done():  # its caller may have gone away meanwhile
                        waiting.future.set_result(Appended(record.id, record.body, False))
                    for draft, future in waiting.followers:
                        if not future.done():
                            _repeat(future, draft, record.id, record.digest)
        except (Exception, asyncio.CancelledError):
            # A fault of ours, or of who is told: the callers must not wait for ever.
            _logger.exception("commit_not_answered", records=len(batch))
            self._answer_failed(batch)

    def _answer_failed(self, batch: Sequence[_Waiting]) -> None:
        """Answer what has no answer yet: it is durable, and perhaps not published.

        It goes on counting in the backlog, which what was published leaves when it is stored.
        """
        error = _unknown()
        for waiting in batch:
            if waiting.key is not None:
                self._in_flight.pop(waiting.key, None)
            for future in (waiting.future, *(future for _, future in waiting.followers)):
                if not future.done():
                    future.set_exception(error)

    def _answer_refused(
        self, batch: Sequence[_Waiting], outcomes: Sequence[Outcome]
    ) -> tuple[list[_Waiting], list[Record]]:
        """Answer the drafts that were refused; return the others, with their records."""
        kept: list[_Waiting] = []
        records: list[Record] = []
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Record):
                kept.append(waiting)
                records.append(outcome)
            else:
                self._refuse(waiting, outcome)
        return kept, records

    def _refuse(self, waiting: _Waiting, error: ChatError) -> None:
        """Answer a draft that was not kept, and its retries."""
        self._backlog.release(waiting.draft.sender, waiting.size)
        if waiting.key is not None:
            self._in_flight.pop(waiting.key, None)
        if not waiting.future.done():
            waiting.future.set_exception(error)
        for draft, future in waiting.followers:
            if future.done():
                continue
            if draft.digest == waiting.draft.digest or isinstance(error, LogUnavailable):
                future.set_exception(error)
            else:
                # Another message under the same key: what was wrong with the first may be
                # right with this one, so it gets a place of its own.
                self.append(draft).add_done_callback(partial(_pass_on, future))


def _unknown() -> LogUnavailable:
    return LogUnavailable("the log cannot tell whether the message was kept")


def _are_records(outcomes: Sequence[Outcome]) -> TypeGuard[Sequence[Record]]:
    """Whether nothing was refused: one look at the types, as this is the usual case."""
    return {*map(type, outcomes)} == {Record}


def _pass_on(future: asyncio.Future[Appended], done: asyncio.Future[Appended]) -> None:
    """Resolve ``future`` as ``done`` was."""
    error = done.exception()
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(done.result())


def _repeat(
    future: asyncio.Future[Appended], draft: Draft, first_id: int, first_digest: bytes
) -> None:
    """Resolve a retry of what is durable already."""
    try:
        future.set_result(repeat_of(draft, first_id, first_digest))
    except Conflict as exc:
        future.set_exception(exc)
