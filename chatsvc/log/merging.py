"""Requests of one sort that wait for the same turn become one append.

Each join of a group reads and changes the group's key, so joins take turns. A thousand that wait
would be a thousand commits; neighbours in the queue are decided together instead, and become one
record.

That record has the key of each request (``Record.keys``), so that a retry of any is found. Whoever
decides looks for it twice (:mod:`chatsvc.storage.history.repeats`): before the request waits, where
the store may have to be asked, and in the step in which it is decided, when what was in flight is
known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from chatsvc.core.membership import MAX_ROWS
from chatsvc.log.base import Appended
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.turns import Turn

R = TypeVar("R")
T = TypeVar("T")

MAX_MERGED: Final = MAX_ROWS
"""How many requests are decided together at most."""


class Merged(NamedTuple, Generic[T]):
    """What several requests come to.

    Args:
        decision: what is appended for those that have no answer; ``None`` where all have one.
        answers: one for each request, in their order: its answer, or what is raised to it, or
            ``None`` where it is a part of the decision.
    """

    decision: Decision | None
    answers: Sequence[T | Exception | None]


DecideAll = Callable[[Sequence[R]], Merged[T]]


class _Batch:
    """Requests that wait together, and their futures."""

    def __init__(self, sort: str, decide: DecideAll[Any, Any], turn: Turn) -> None:
        self.sort = sort
        self.decide = decide
        self.turn = turn
        self.requests: list[Any] = []
        self.futures: list[asyncio.Future[Any]] = []

    def drop_those_who_left(self) -> None:
        """Forget the requests whose callers are gone."""
        left = [
            (request, future)
            for request, future in zip(self.requests, self.futures, strict=True)
            if not future.done()
        ]
        self.requests = [request for request, _ in left]
        self.futures = [future for _, future in left]


class Merging:
    """Decides requests of one sort together; see the module's text.

    Args:
        deciding: whose turns, time and log they share.
    """

    def __init__(self, deciding: Deciding) -> None:
        self.deciding = deciding
        self._open: dict[str, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def decide(
        self, key: str, sort: str, request: R, decide: DecideAll[R, T]
    ) -> list[Appended] | T:
        """Decide a request together with its neighbours; again while that is stale.

        Args:
            key: what they all read and change: the one key of their turn.
            sort: requests of one sort may be decided together, by the ``decide`` of any of them.
            request: what is decided about.
            decide: decides all that it is given. It may be called any number of times; the
                guard of its decision has ``key``. What it raises ends all of them.

        Returns:
            What the append came to, the same for all that were a part of it; or the answer.

        Raises:
            Busy: the time is over, or too many wait for their turn.
            ChatError: what the log raises, but ``Stale``; or the answer, where it is an error.
        """
        batch = self._open.get(key)
        if (
            batch is None
            or batch.sort != sort
            or len(batch.requests) >= MAX_MERGED
            or not self.deciding.turns.is_last(batch.turn)
        ):
            batch = self._begin(key, sort, decide)
        future: asyncio.Future[list[Appended] | T] = asyncio.get_running_loop().create_future()
        batch.requests.append(request)
        batch.futures.append(future)
        return await future

    def _begin(self, key: str, sort: str, decide: DecideAll[Any, Any]) -> _Batch:
        batch = _Batch(sort, decide, self.deciding.turns.enter(key))
        self._open[key] = batch
        task = asyncio.get_running_loop().create_task(self._run(key, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    async def _run(self, key: str, batch: _Batch) -> None:
        async with batch.turn:
            if self._open.get(key) is batch:
                del self._open[key]  # who comes now waits for the next
            try:
                await self._decide(batch)
            except Exception as exc:  # noqa: BLE001 - each of the callers raises it
                for future in batch.futures:
                    if not future.done():
                        future.set_exception(exc)

    async def _decide(self, batch: _Batch) -> None:
        merged: Merged[Any] = Merged(None, ())

        def decide() -> Decision | None:
            nonlocal merged
            batch.drop_those_who_left()
            merged = batch.decide(batch.requests) if batch.requests else Merged(None, ())
            return merged.decision

        appended = await self.deciding.append_again(decide(), decide)
        for future, answer in zip(batch.futures, merged.answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(appended if answer is None else answer)
