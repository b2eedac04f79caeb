"""A scripted server, and clients that come back to it at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chatsvc.client import Backoff, ChatApi, ChatClient
from testkit.scripted_server import ScriptedServer


@pytest.fixture(autouse=True)
def quick_refreshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens may be asked for every hundredth of a second."""
    monkeypatch.setattr("chatsvc.client.tokens.REFRESH_SECONDS", 0.01)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().serve() as running:
        yield running


Connect = Callable[..., Any]


@pytest.fixture
async def connect(server: ScriptedServer) -> AsyncIterator[Connect]:
    """Make an open client; closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def make(token: Any = "token", **more: Any) -> ChatClient:
            more.setdefault("backoff", Backoff(first=0.01, maximum=0.02))
            return await stack.enter_async_context(ChatClient(server.url, token, **more))

        yield make


@pytest.fixture
async def api(server: ScriptedServer) -> AsyncIterator[ChatApi]:
    quick = Backoff(first=0.001, maximum=0.001)
    async with ChatApi(server.url, "secret", device="tv", backoff=quick) as open_api:
        yield open_api
