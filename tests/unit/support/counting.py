"""A consumer that counts records by kind, in a file that has its position too."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chatsvc.core.record import Record
from chatsvc.log.base import LogReader
from chatsvc.storage.consumer.consumer import Consumer
from chatsvc.storage.consumer.feed import AlwaysThere, LogFeed
from chatsvc.storage.consumer.status import ConsumerStatus
from chatsvc.storage.ports.projections import RecordScan


class KindCounter(Consumer):
    """Counts into ``path``; ``reached`` is called with each step of a batch, and may raise."""

    def __init__(
        self,
        log: LogReader,
        store: RecordScan,
        path: Path,
        *,
        batch: int = 500,
        reached: Callable[[str], None] = lambda step: None,
        **options: Any,
    ) -> None:
        self._path = path
        self._reached = reached
        found = read_counts(path)
        self.counts = Counter(found["counts"])
        self._feed = LogFeed(log, store, int(found["position"]), batch=batch)
        self.status = ConsumerStatus("counter", lambda: log.tail.head > self._feed.position)
        super().__init__("counter", log.tail, self._feed, AlwaysThere(), self.status, **options)

    async def _attempt(self) -> Sequence[Record]:
        records = self._tried = await self._feed.next()
        self._reached("read")
        if records:
            counts = self.counts + Counter(one.kind for one in records)
            text = json.dumps({"counts": counts, "position": records[-1].id})
            written = self._path.with_suffix(".new")
            written.write_text(text)
            self._reached("written")
            written.replace(self._path)  # counts and position, in one step
            self._reached("in place")
            self.counts = counts
        return records


def read_counts(path: Path) -> dict[str, Any]:
    """What is in the file."""
    found: dict[str, Any] = {"counts": {}, "position": 0}
    return json.loads(path.read_text()) if path.exists() else found
