"""A log that is put back, and gives ids again that the store knows from a dead letter alone."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.log.local import log as local
from chatsvc.log.local import opening
from chatsvc.log.local.log import LocalLog
from chatsvc.storage.dead_letters import DeadLetterAdmin
from chatsvc.storage.history.history import History
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.store_state import state_of
from testkit.records import draft
from testkit.selecting import SELECTION
from testkit.waiting import until

T = 1_795_000_000_000


class Picky(SqliteStore):
    """Refuses what has one of the ``words`` in its body."""

    words: tuple[bytes, ...] = (b"refused",)

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        bad = [one for one in records if any(word in one.body for word in self.words)]
        rejections = await super().write([one for one in records if one not in bad])
        return rejections + [Rejection(one, "unfit", "a test says so") for one in bad]


class Deployment:
    """Opens logs over one store; ``ms`` is the wall clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ms = T
        self.store = Picky(folder / "store.db")
        self.log: LocalLog | None = None

    async def open(self, name: str, *, met: bool = True) -> LocalLog:
        await self.close()
        self.log = await LocalLog.open(
            self.folder / name,
            recent_bytes=0,
            backlog_bytes=1 << 30,
            idempotency_ms=600_000,
            idempotency_keys=1000,
            retention_ms=3_600_000,
            store=await state_of(self.store) if met else None,
        )
        return self.log

    async def send(self, content: str) -> int:
        assert self.log is not None
        return (await asyncio.wait_for(self.log.append(draft(content)), 20)).id

    async def store_all(self) -> None:
        log = self.log
        assert log is not None
        persister = Persister(log, self.store, batch_ms=0)
        persister.start()
        await until(lambda: log.tail.confirmed and log.tail.stored == log.tail.head)
        await persister.stop(drain=True)

    async def close(self) -> None:
        if self.log is not None:
            await self.log.close()


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deployment]:
    site = Deployment(tmp_path)
    monkeypatch.setattr(local, "now_ms", lambda: site.ms)
    monkeypatch.setattr(opening, "now_ms", lambda: site.ms)
    await site.store.open()
    yield site
    await site.close()
    await site.store.close()


async def put_back_after_a_dead_letter(site: Deployment) -> tuple[int, str]:
    """The id of the letter, which the log has given to another message; its reader's cursor."""
    site.ms = T + 3_600_000
    await site.open("log")
    await site.send("first")
    await site.store_all()
    await site.close()
    shutil.copytree(site.folder / "log", site.folder / "older")
    site.ms = T  # or the id would not come again
    log = await site.open("log")
    refused = await site.send("refused")
    await site.store_all()
    cursor = f"{log.epoch}.{refused:016x}"
    await site.open("older", met=False)
    assert await site.send("another") == refused
    return refused, cursor


@pytest.mark.parametrize("dropped", [False, True])
async def test_a_new_epoch_begins_where_a_dead_letter_has_the_id_of_another_message(
    site: Deployment, dropped: bool
) -> None:
    refused, cursor = await put_back_after_a_dead_letter(site)
    if dropped:  # the mark alone tells
        await site.store.dead_letters.drop([refused])
    await site.store_all()
    log = site.log
    assert log is not None
    history = History(site.store, log.tail)
    resumer = Resumer(
        epoch=log.epoch,
        epochs=log.epochs,
        tail=log.tail,
        hub=Hub(),
        backfill=history.records,
        selection=SELECTION,
        max_messages=1000,
    )
    plan = await resumer.plan("bob", cursor)
    assert not plan.recovered, "'another' was never sent to bob"
    page = await history.channel_page("alice,bob", Bounds(10))
    assert [json.loads(one.body)["content"] for one in page.entries] == ["first", "another"]
    assert (page.entries[-1].id == refused) == dropped


@pytest.mark.parametrize("also_refused", [False, True])
async def test_both_messages_stay_where_one_is_a_dead_letter(
    site: Deployment, also_refused: bool
) -> None:
    refused, _ = await put_back_after_a_dead_letter(site)
    if also_refused:
        site.store.words = (b"refused", b"another")
    await site.store_all()
    letter = await site.store.dead_letters.get(refused)
    assert letter is not None
    assert b"refused" in letter.data
    site.store.words = ()
    replayed = await DeadLetterAdmin(site.store).replay()
    assert all(one.stored for one in replayed)
    page = await site.store.channel_page("alice,bob", Bounds(10))
    assert [json.loads(one.body)["content"] for one in page] == ["first", "refused", "another"]
