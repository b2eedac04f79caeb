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
from chatsvc.storage.dead_letters import DeadLetterAdmin
from chatsvc.storage.history.history import History
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.records import draft
from testkit.selecting import SELECTION
from tests.integration.support.put_back import Deployment

T = 1_795_000_000_000


class Picky(SqliteStore):
    """Refuses what has one of the ``words`` in its body."""

    words: tuple[bytes, ...] = (b"refused",)

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        bad = [one for one in records if any(word in one.body for word in self.words)]
        rejections = await super().write([one for one in records if one not in bad])
        return rejections + [Rejection(one, "unfit", "a test says so") for one in bad]


class Site(Deployment):
    """``ms`` is the wall clock."""

    ms = T

    async def send(self, content: str) -> int:
        return (await asyncio.wait_for(self.log.append(draft(content)), 20)).id

    async def store_all(self) -> None:
        await self.store_until(lambda log: log.tail.stored == log.tail.head)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    site = Site(tmp_path, Picky(tmp_path / "store.db"))
    monkeypatch.setattr(local, "now_ms", lambda: site.ms)
    monkeypatch.setattr(opening, "now_ms", lambda: site.ms)
    await site.store.open()
    yield site
    await site.close()
    await site.store.close()


async def put_back_after_a_dead_letter(site: Site) -> tuple[int, str]:
    """The id of the letter, which the log has given to another message; its reader's cursor."""
    site.ms = T + 3_600_000
    await site.open_log("log")
    await site.send("first")
    await site.store_all()
    await site.close()
    shutil.copytree(site.folder / "log", site.folder / "older")
    site.ms = T  # or the id would not come again
    log = await site.open_log("log")
    refused = await site.send("refused")
    await site.store_all()
    cursor = f"{log.epoch}.{refused:016x}"
    await site.open_log("older", met=False)
    assert await site.send("another") == refused
    return refused, cursor


@pytest.mark.parametrize("dropped", [False, True])
async def test_a_new_epoch_begins_where_a_dead_letter_has_the_id_of_another_message(
    site: Site, dropped: bool
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
    site: Site, also_refused: bool
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
