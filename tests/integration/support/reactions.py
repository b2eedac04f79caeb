"""A whole service with one more feature, whose records are no messages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from chatsvc.api.feature import Feature
from chatsvc.app import components
from chatsvc.app import features as registered
from chatsvc.app.features import FeatureParts
from chatsvc.app.lifecycle import Service
from chatsvc.core.change import draft_change
from chatsvc.core.participants import channel_key
from chatsvc.features.messages.service import AllowAll
from chatsvc.log.base import Appended, LogAppender
from chatsvc.server.observability.metrics import RequestStats
from chatsvc.settings.table import load
from testkit.records import draft
from testkit.talking import SECRET
from tests.integration.support.reaction_rows import REACTION, reactions_feature

PEOPLE: Final = ("alice", "bob")


class ReactingService:
    """A service in this process, over any number of its lives.

    What a test appends goes to the log itself. ``requests`` are method and route of all that were
    answered.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
        self._settings = {
            "DATA_DIR": str(folder / "data"),
            "JWT_SECRET": SECRET,
            "LOG_LEVEL": "error",
            "STORE": "sqlite",
            "DRAIN_SECONDS": "0",
            **settings,
        }
        self._port = "0"
        self._service: Service | None = None
        self._log: LogAppender
        self.url = ""
        self.requests: list[tuple[str, str]] = []
        usual, observe = registered.features, RequestStats.observe

        def with_reactions(parts: FeatureParts) -> tuple[Feature, ...]:
            self._log = parts.log
            return (*usual(parts), reactions_feature(parts.log, parts.rows))

        def note(stats: RequestStats, method: str, route: str, status: int, took: float) -> None:
            self.requests.append((method, route))
            observe(stats, method, route, status, took)

        monkeypatch.setattr(registered, "features", with_reactions)
        monkeypatch.setattr(components, "features", with_reactions)
        monkeypatch.setattr(RequestStats, "observe", note)

    async def start(self) -> None:
        self._service = Service(load(self._settings | {"PORT": self._port}), AllowAll())
        running = await self._service.start()
        self.url = running.url
        self._port = self.url.rpartition(":")[2]

    async def stop(self) -> None:
        if self._service is not None:
            await self._service.stop()

    def say(self, content: str) -> asyncio.Future[Appended]:
        """Accept a message of alice's to bob, in the order of the calls."""
        return self._log.append(draft(content, to=PEOPLE))

    def react(self, sender: str = "alice") -> asyncio.Future[Appended]:
        """Accept a record of their conversation that is no message."""
        return self._log.append(
            draft_change(
                REACTION,
                channel=channel_key(PEOPLE),
                audience=PEOPLE,
                sender=sender,
                fields={"emoji": "+1"},
            )
        )

    def pages(self) -> int:
        """How many pages of messages were answered."""
        return self.requests.count(("GET", "/api/messages"))

    def handshakes(self) -> int:
        """How many sockets were opened, or refused."""
        return self.requests.count(("GET", "/ws"))
