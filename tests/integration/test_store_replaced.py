"""An older copy of the store, put in its place under an idle service, is never read as whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import aiohttp

from testkit.talking import SOON, bearer
from tests.integration.conftest import Serve

EVICTING = 150
"""So many messages of 10,000 characters push what was before them out of ``RECENT_BYTES``."""


class Chat:
    """Alice, over HTTP."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def send(self, content: str, to: str = "bob") -> None:
        body = {"participants": ["alice", to], "content": content}
        async with self.session.post(f"{self.url}/api/messages", json=body) as answer:
            assert answer.status == 201, await answer.text()

    async def page(self) -> dict[str, Any] | None:
        """What was said to bob; ``None`` while the store does not answer."""
        path = f"{self.url}/api/messages/get?participants=alice,bob"
        async with self.session.get(path) as answer:
            assert answer.status in (200, 503), await answer.text()
            found: dict[str, Any] = await answer.json()
            return found if answer.status == 200 else None

    async def all_stored(self) -> None:
        async with asyncio.timeout(SOON):
            while True:
                async with self.session.get(f"{self.url}/metrics") as answer:
                    if re.search(r"^chatsvc_backlog_messages 0\b", await answer.text(), re.M):
                        return
                await asyncio.sleep(0.05)


async def test_a_page_is_not_complete_without_what_an_older_copy_lacks(
    serve: Serve, tmp_path: Path
) -> None:
    _, url = serve(RECENT_BYTES="1MiB")
    async with aiohttp.ClientSession(headers=bearer("alice")) as session:
        chat = Chat(url, session)
        await chat.send("m0")
        await chat.all_stored()
        (store,) = tmp_path.rglob("store.db")
        older = store.with_name("older.db")
        with (
            contextlib.closing(sqlite3.connect(store)) as now,
            contextlib.closing(sqlite3.connect(older)) as copy,
        ):
            now.backup(copy)
        await chat.send("m1")
        for _ in range(EVICTING):
            await chat.send("x" * 10_000, to="carol")
        await chat.all_stored()
        page = await chat.page()
        assert page is not None
        assert [one["content"] for one in page["messages"]] == ["m0", "m1"]

        os.replace(older, store)
        deadline = time.monotonic() + SOON
        while True:
            assert time.monotonic() < deadline, "it was not filled again"
            page = await chat.page()
            if page is not None:
                found = [one["content"] for one in page["messages"]]
                if page["complete"]:
                    assert found == ["m0", "m1"], "complete, without what was acknowledged"
                    break
            await asyncio.sleep(0.02)
