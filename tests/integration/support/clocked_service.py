"""Log, store and message service as they are composed, with clocks that are moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import now_ms
from chatsvc.core.limits import Limits
from chatsvc.core.record import Record
from chatsvc.features.messages.service import AllowAll, MessageService
from chatsvc.log.base import Appended
from chatsvc.log.local import log as local
from chatsvc.log.local import maintenance, opening
from chatsvc.log.local.log import LocalLog
from chatsvc.storage.history.history import History
from chatsvc.storage.past import learn_past
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.store_state import state_of
from testkit.boot import Boot
from testkit.records import KINDS
from testkit.waiting import until

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WINDOW = 10 * MINUTE


class AwayStore(SqliteStore):
    """Answers no lookup while ``away``, counts them, and takes no message while ``refusing``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, kinds=KINDS)
        self.away = False
        self.refusing = False
        self.lookups = 0

    async def find_client_id(
        self,
        sender: str,
        channel: str,
        client_id: str,
        *,
        after: int = 0,
        dead_letters: bool = True,
    ) -> tuple[int, bytes] | None:
        self.lookups += 1
        if self.away:
            raise StoreUnavailable("the store is away")
        return await super().find_client_id(
            sender, channel, client_id, after=after, dead_letters=dead_letters
        )

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        if self.refusing:
            return [Rejection(record, "mongodb_121", "a validator") for record in records]
        return await super().write(records)


class Deployment:
    """A service over one folder. ``ms`` is its wall clock, ``boot`` the time that passes."""

    def __init__(self, folder: Path) -> None:
        self.ms = now_ms()
        self.boot = Boot()
        self.folder = folder
        self.log: LocalLog
        self.store: AwayStore
        self.service: MessageService
        self.persister: Persister | None = None

    async def start(self, *, keys: int = 1_000_000, met: bool = True, asked: bool = True) -> None:
        """``asked``: whether the store, if it was met, answers what it knows of client ids."""
        self.store = AwayStore(self.folder / "store.db")
        await self.store.open()
        self.log = await LocalLog.open(
            self.folder,
            recent_bytes=64 << 20,
            backlog_bytes=512 << 20,
            idempotency_ms=WINDOW,
            idempotency_keys=keys,
            retention_ms=DAY,
            store=await state_of(self.store) if met else None,
            elapsed_clock=self.boot,
        )
        if met and asked:
            await learn_past(self.log, self.store)
            self.meet()
        self.service = MessageService(
            log=self.log,
            policy=AllowAll(),
            client_ids=History(self.store, self.log.tail, breaker_seconds=0.0),
            limits=Limits(),
        )

    def meet(self) -> None:
        self.persister = Persister(self.log, self.store, batch_ms=0, kinds=KINDS)
        self.persister.start()

    async def stop(self) -> None:
        if self.persister is not None:
            await self.persister.stop(drain=True)
            self.persister = None
        await self.log.close()
        await self.store.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def lose_the_log(self, *, asked: bool = True) -> None:
        await self.stop()
        for file in self.folder.glob("log.db*"):
            file.unlink()
        await self.start(asked=asked)

    async def send(
        self, content: str, client_id: str | None = None, sender: str = "alice"
    ) -> Appended:
        sent = self.service.submit(sender, "", [sender, "bob"], content, client_id)
        return await asyncio.wait_for(sent, 20)

    async def store_all(self) -> None:
        await until(lambda: self.log.tail.stored == self.log.tail.head)

    async def pass_time(self, ms: int = WINDOW) -> None:
        """By every clock. All that is stored and a window old is forgotten."""
        head = self.log.tail.head
        await until(lambda: self.log.older_than(0) == head)
        self.ms += ms
        self.boot.seconds += ms / 1000
        old = min(self.log.older_than(WINDOW / 1000), self.log.tail.stored)
        await until(lambda: self.log._keys.position >= old)


@asynccontextmanager
async def deployed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deployment]:
    """A started service, by whose clock the log goes."""
    site = Deployment(folder)
    monkeypatch.setattr(local, "now_ms", lambda: site.ms)
    monkeypatch.setattr(opening, "now_ms", lambda: site.ms)
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    await site.start()
    yield site
    await site.stop()


async def again(site: Deployment, first: Appended, client_id: str) -> None:
    """The same send is the same message, and nothing new."""
    head = site.log.tail.head
    repeat = await site.send("once", client_id)
    assert (repeat.duplicate, repeat.id, repeat.body) == (True, first.id, first.body)
    assert site.log.tail.head == head
