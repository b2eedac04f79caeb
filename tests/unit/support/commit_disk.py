"""A disk for :class:`~chatsvc.log.group_commit.GroupCommit` that ends writes when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from chatsvc.core.errors import ChatError, LogUnavailable, TooManyRequests
from chatsvc.core.record import Draft, Record, accept
from chatsvc.log.backlog import Backlog
from chatsvc.log.group_commit import Done, GroupCommit, Outcome
from chatsvc.log.guards import Touches
from chatsvc.log.idempotency import KeyWindow

NOTHING: Final[Mapping[int, ChatError]] = MappingProxyType({})


class Disk:
    """Takes batches and ends them when the test says so.

    ``batches`` are the drafts of each write, ``records`` and ``sizes`` what was accepted.
    """

    def __init__(self) -> None:
        self.batches: list[list[Draft]] = []
        self.events: list[str] = []
        self.records: list[Record] = []
        self.sizes: list[int] = []
        self.last = 0
        self._done: Done | None = None
        self.refusal: LogUnavailable | TooManyRequests | None = None
        keys = KeyWindow(max_keys=1000, max_keys_per_sender=1000)
        self.backlog = Backlog()
        self.touches = Touches(forgotten=0)
        self.commit = GroupCommit(
            self.write, self.accepted, keys, self.admit, self.backlog, self.touches, self.find
        )

    def find(self, record_id: int) -> Record | None:
        return next((one for one in self.records if one.id == record_id), None)

    def admit(self, draft: Draft) -> int:
        if self.refusal is not None:
            raise self.refusal
        return len(draft.rest)

    def write(self, drafts: list[Draft], done: Done) -> None:
        assert self._done is None, "one write at a time"
        self.batches.append(drafts)
        self._done = done

    def accepted(self, records: Sequence[Record], sizes: Sequence[int]) -> None:
        assert len(records) == len(sizes)
        self.events.append("accepted")
        self.records += records
        self.sizes += sizes

    @property
    def is_writing(self) -> bool:
        return self._done is not None

    def take_done(self) -> Done:
        """What the write under way is to be ended with."""
        done, self._done = self._done, None
        assert done is not None
        return done

    def finish(self, refused: Mapping[int, ChatError] = NOTHING) -> list[Record]:
        """End the write under way: all is kept but the drafts at these places of the batch."""
        done = self.take_done()
        outcomes: list[Outcome] = []
        for at, entry in enumerate(self.batches[-1]):
            self.last += 64
            outcomes.append(refused.get(at) or accept(entry, self.last))
        done(outcomes)
        return [outcome for outcome in outcomes if isinstance(outcome, Record)]

    def fail(self) -> None:
        error = LogUnavailable("the disk is full", code="disk_full")
        self.finish(dict.fromkeys(range(len(self.batches[-1])), error))


async def turn() -> None:
    """Let what is due run: a turn of the loop, and what that made due."""
    for _ in range(3):
        await asyncio.sleep(0)
