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
from typing import Any, Final, NamedTuple, TypeGuard

import structlog

from chatsvc.core.errors import ChatError, LogUnavailable, Stale, TooManyRequests
from chatsvc.core.record import Draft, Record
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.backlog import Backlog
from chatsvc.log.base import MAX_TOGETHER, MAX_TOGETHER_BYTES, Appended, check_together
from chatsvc.log.guards import Guard, Touches
from chatsvc.log.idempotency import Key, KeyWindow
from chatsvc.log.waiting import Follower, Together, Waiting, pass_on

COMMIT_RECORDS: Final = MAX_TOGETHER
COMMIT_BYTES: Final = MAX_TOGETHER_BYTES
LOOKED_AT: Final = 2 * COMMIT_RECORDS
"""How many appends are looked at for one commit: those that do not go into it cost a step too."""

_logger = structlog.get_logger("chatsvc.log")

Outcome = Record | ChatError
"""What became of one draft of a commit: its record, durable, or why it alone was refused."""
Done = Callable[[Sequence[Outcome]], None]
"""Called with one outcome for each draft, in their order; ids of the records only go up."""
Write = Callable[[list[Draft], Done], None]
Accepted = Callable[[Sequence[Record], Sequence[int]], None]


class _Kept(NamedTuple):
    """What is durable of a commit.

    The appends, with the record of the first draft of each and their answers; and all records,
    with what they count for.
    """

    batch: list[Waiting]
    firsts: Sequence[Record]
    answers: Sequence[Appended | list[Appended]]
    records: Sequence[Record]
    sizes: Sequence[int]


class GroupCommit:
    """Collects drafts, hands them to ``write`` a batch at a time, resolves their futures.

    Guards are checked where a batch is put together: see :mod:`chatsvc.log.guards`.

    Args:
        write: makes a batch durable and calls back, on the loop, with one outcome for each
            draft, in their order. That a draft is refused says nothing of the others, but of
            those that were appended together. A batch has all of these. Instead it may raise, or
            call :meth:`not_written`.
        accepted: told of the durable records of a batch, and of the sizes with which they count
            in the backlog, before their futures resolve.
        keys: the memory that tells a retry from something new.
        admit: what a draft counts for in the backlog, in bytes; raises
            :class:`LogUnavailable` while nothing may be taken, :class:`TooManyRequests` while
            nothing may be taken of this sender.
        backlog: told of what waits.
        touches: what guards are compared with.
        find: the record of an id, where it is in memory.
    """

    def __init__(
        self,
        write: Write,
        accepted: Accepted,
        keys: KeyWindow,
        admit: Callable[[Draft], int],
        backlog: Backlog,
        touches: Touches,
        find: Callable[[int], Record | None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._write = write
        self._accepted = accepted
        self._admit = admit
        self._backlog = backlog
        self._touches = touches
        self._find = find
        self.keys = keys
        self.acknowledgements = Acknowledgements()
        self._queue: deque[Waiting] = deque()
        self._in_flight: dict[Key, Waiting] = {}
        self._batch: list[Waiting] = []
        self._plain = True  # whether each of the batch is one draft, without keys
        self._undecided: list[Waiting] = []
        self._alone = 0  # how many of the queue are written one by one
        self._scheduled = False
        self._idle: asyncio.Future[None] | None = None
        self.repeats = 0
        """Appends whose key was used already."""

    def append(self, draft: Draft) -> asyncio.Future[Appended]:
        """See :meth:`chatsvc.log.base.LogAppender.append`."""
        if draft.touches:
            return self._append_together(Together((draft,), None, listed=False))
        future: asyncio.Future[Appended] = self._loop.create_future()
        key = draft.key
        if key is not None and (self.keys.get(key) is not None or key in self._in_flight):
            self._follow(key, Follower(draft, None, future))
            return future
        try:
            size = self._admit(draft)
        except (LogUnavailable, TooManyRequests) as exc:
            future.set_exception(exc)
            return future
        waiting = Waiting(draft, key, size, future, [])
        if key is not None:
            self._in_flight[key] = waiting
        self._queue.append(waiting)
        self._backlog.add(draft.sender, size)
        if not self._scheduled and not self._batch:
            self._start_soon()
        return future

    def append_all(
        self, drafts: Sequence[Draft], guard: Guard | None = None
    ) -> asyncio.Future[list[Appended]]:
        """See :meth:`chatsvc.log.base.LogAppender.append_all`."""
        check_together(drafts)
        return self._append_together(Together(tuple(drafts), guard, listed=True))

    def _append_together(self, together: Together) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        drafts = together.drafts
        key = drafts[0].key
        if key is not None and (self.keys.get(key) is not None or key in self._in_flight):
            self._follow(key, Follower(drafts[0], together, future))
            return future
        sizes: list[int] = []
        try:
            for draft in drafts:
                sizes.append(self._admit(draft))
                self._backlog.add(draft.sender, sizes[-1])
        except (LogUnavailable, TooManyRequests) as exc:
            self._release(drafts[: len(sizes)], sizes)
            future.set_exception(exc)
            return future
        waiting = Waiting(drafts[0], key, sum(sizes), future, [], together, tuple(sizes))
        if key is not None:
            self._in_flight[key] = waiting
        self._queue.append(waiting)
        if not self._scheduled and not self._batch:
            self._start_soon()
        return future

    def _follow(self, key: Key, follower: Follower) -> None:
        """Answer a retry of what is known, or let it wait for what is in flight."""
        self.repeats += 1
        known = self.keys.get(key)
        if known is not None:
            first = self._find(known.id)
            follower.repeat(known.id, known.digest, first.body if first is not None else None)
        else:
            self._in_flight[key].followers.append(follower)

    def in_flight(self, key: Key) -> bool:
        """Whether a draft of this key is queued or being written."""
        return key in self._in_flight

    async def drained(self) -> None:
        """Return once nothing is queued or being written."""
        while self._queue or self._batch:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    def _start_soon(self) -> None:
        # At the end of this turn of the loop: what else arrives in it shares the commit.
        self._scheduled = True
        self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._scheduled = False
        drafts = self._take()
        if drafts:
            try:
                self._write(drafts, self._done)
            except Exception:
                # Whatever it is, it must not leave this batch in flight for ever.
                _logger.exception("commit_not_started", records=len(drafts))
                self.not_written(LogUnavailable("the log cannot write"))
        elif self._queue:
            self._start_soon()  # all that was looked at is refused: the others in a later step
        elif self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def not_written(self, error: ChatError) -> None:
        """Nothing of the batch was written, and it may be the fault of one append of it.

        Each of several is tried alone; the error answers one that was.
        """
        if len(self._batch) == 1:
            count = len(self._batch[0].drafts)
            self._loop.call_soon(self._done, [error] * count)
            return
        batch, self._batch = self._batch, []
        self._alone = len(batch)
        self._look_again_at_undecided(())
        self._queue.extendleft(reversed(batch))
        self._plain = True
        self._start_soon()

    def _take(self) -> list[Draft]:
        """Put a batch together, as far as it goes in one commit; return its drafts."""
        batch, queue = self._batch, self._queue
        drafts: list[Draft] = []
        size = looked_at = 0
        max_drafts = 1 if self._alone else COMMIT_RECORDS
        while queue and len(drafts) < max_drafts and size < COMMIT_BYTES and looked_at < LOOKED_AT:
            looked_at += 1
            waiting = queue.popleft()
            together = waiting.together
            if together is None:
                drafts.append(waiting.draft)
            elif drafts and (
                len(drafts) + len(together.drafts) > COMMIT_RECORDS
                or size + waiting.size > COMMIT_BYTES
            ):
                queue.appendleft(waiting)
                break
            elif not self._joins(together, waiting):
                continue
            else:
                drafts += together.drafts
                self._plain = False
            batch.append(waiting)
            size += waiting.size
        self._alone = max(0, self._alone - looked_at)
        return drafts

    def _joins(self, together: Together, waiting: Waiting) -> bool:
        """Whether an append goes into this batch; if not, it is refused or looked at again."""
        try:
            if together.guard is not None and not self._holds(together.guard, waiting):
                return False
            self._touches.begin(together.drafts)
        except Exception:
            # A fault of who appends, such as a key that is no string: it is nobody else's.
            _logger.exception("append_not_looked_at", records=len(together.drafts))
            error = LogUnavailable("the log cannot tell what the append goes by")
            self._loop.call_soon(self._refuse, waiting, error)
            return False
        return True

    def _holds(self, guard: Guard, waiting: Waiting) -> bool:
        by = self._touches.stale_by(guard)
        if by is not None:
            # In a later step: the record may enter the tail in the one that this is a part of.
            self._loop.call_soon(self._refuse, waiting, Stale(by))
            return False
        if self._touches.are_undecided(guard.keys):
            self._undecided.append(waiting)
            return False
        return True

    def _look_again_at_undecided(self, records: Sequence[Record]) -> None:
        """The commit is decided that they waited for: these are its records with keys."""
        self._touches.settle(records)
        self._queue.extendleft(reversed(self._undecided))
        self._undecided.clear()

    def _done(self, outcomes: Sequence[Outcome]) -> None:
        batch, self._batch = self._batch, []
        plain, self._plain = self._plain, True
        if not plain:
            records = [one for one in outcomes if isinstance(one, Record)]
            self._look_again_at_undecided(records)
        self._start()  # first of all: the disk works while we answer
        count = len(batch) if plain else sum(len(waiting.drafts) for waiting in batch)
        if len(outcomes) != count:
            # A fault of who writes: which outcome is whose cannot be told.
            _logger.error("commit_outcomes_wrong", outcomes=len(outcomes), records=count)
            outcomes = [_unknown()] * count
        try:
            if plain and _are_records(outcomes):
                sizes = [waiting.size for waiting in batch]
                answers = [Appended(record.id, record.body, False) for record in outcomes]
                kept = _Kept(batch, outcomes, answers, outcomes, sizes)
            else:
                kept = self._answer_refused(batch, outcomes)
            batch = kept.batch
            if batch:
                self._publish(kept)
        except (Exception, asyncio.CancelledError):
            # A fault of ours, or of who is told: the callers must not wait for ever.
            _logger.exception("commit_not_answered", records=len(batch))
            self._answer_failed(batch)

    def _publish(self, kept: _Kept) -> None:
        """Let readers have what is durable, and answer for it."""
        keys = self.keys
        for waiting, record in zip(kept.batch, kept.firsts, strict=True):
            key = waiting.key
            if record.keys:
                keys.add_record(record)
            elif key is not None:
                keys.add(key, record.id, record.digest)
            if key is not None:
                self._in_flight.pop(key, None)
        with self.acknowledgements:
            self._accepted(kept.records, kept.sizes)
            for waiting, record, answer in zip(kept.batch, kept.firsts, kept.answers, strict=True):
                if not waiting.future.done():  # its caller may have gone away meanwhile
                    waiting.future.set_result(answer)
                for follower in waiting.followers:
                    follower.repeat(record.id, record.digest, record.body)

    def _answer_failed(self, batch: Sequence[Waiting]) -> None:
        """Answer what has no answer yet: it is durable, and perhaps not published.

        It goes on counting in the backlog, which what was published leaves when it is stored.
        """
        error = _unknown()
        for waiting in batch:
            if waiting.key is not None:
                self._in_flight.pop(waiting.key, None)
            for future in (waiting.future, *(one.future for one in waiting.followers)):
                if not future.done():
                    future.set_exception(error)

    def _answer_refused(self, batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> _Kept:
        """Answer the appends that were refused; return the others, with their records."""
        kept: list[Waiting] = []
        firsts: list[Record] = []
        answers: list[Appended | list[Appended]] = []
        records: list[Record] = []
        sizes: list[int] = []
        at = 0
        for waiting in batch:
            drafts = waiting.drafts
            own = outcomes[at : at + len(drafts)]
            at += len(drafts)
            if not _are_records(own):
                self._refuse(waiting, _error_of(own))
                continue
            kept.append(waiting)
            firsts.append(own[0])
            answers.append(waiting.answer_of(own))
            records += own
            sizes += waiting.sizes or (waiting.size,)
        return _Kept(kept, firsts, answers, records, sizes)

    def _refuse(self, waiting: Waiting, error: ChatError) -> None:
        """Answer an append that was not kept, and its retries."""
        self._release(waiting.drafts, waiting.sizes or (waiting.size,))
        if waiting.key is not None:
            self._in_flight.pop(waiting.key, None)
        if not waiting.future.done():
            waiting.future.set_exception(error)
        for draft, together, future in waiting.followers:
            if future.done():
                continue
            shared = draft.digest == waiting.draft.digest and not isinstance(error, Stale)
            if shared or isinstance(error, LogUnavailable):
                future.set_exception(error)
            else:
                # Another message under the same key, or another guard: what was wrong with the
                # first may be right with this one, so it gets a place of its own.
                again = self.append(draft) if together is None else self._append_together(together)
                again.add_done_callback(partial(pass_on, future))

    def _release(self, drafts: Sequence[Draft], sizes: Sequence[int]) -> None:
        for draft, size in zip(drafts, sizes, strict=True):
            self._backlog.release(draft.sender, size)


def _unknown() -> LogUnavailable:
    return LogUnavailable("the log cannot tell whether the message was kept")


def _are_records(outcomes: Sequence[Outcome]) -> TypeGuard[Sequence[Record]]:
    """Whether nothing was refused: one look at the types, as this is the usual case."""
    return {*map(type, outcomes)} == {Record}


def _error_of(outcomes: Sequence[Outcome]) -> ChatError:
    """Why an append was refused: what is said of one of its drafts must be said of all."""
    errors = [one for one in outcomes if not isinstance(one, Record)]
    if len(errors) == len(outcomes):
        return errors[0]
    _logger.error("append_split", records=len(outcomes), refused=len(errors))
    return _unknown()
