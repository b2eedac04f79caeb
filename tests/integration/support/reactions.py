"""A whole service with one more feature, whose records are no messages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from chatsvc.core.change import draft_change
from chatsvc.core.participants import channel_key
from chatsvc.log.base import Appended
from testkit.records import draft
from tests.integration.support.extended_service import ExtendedService
from tests.integration.support.reaction_rows import REACTION, reactions_feature

PEOPLE: Final = ("alice", "bob")


class ReactingService(ExtendedService):
    """With reactions. What a test appends goes to the log itself."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
        super().__init__(
            folder, monkeypatch, lambda parts: reactions_feature(parts.log, parts.rows), **settings
        )

    def say(self, content: str) -> asyncio.Future[Appended]:
        """Accept a message of alice's to bob, in the order of the calls."""
        return self.log.append(draft(content, to=PEOPLE))

    def react(self, sender: str = "alice") -> asyncio.Future[Appended]:
        """Accept a record of their conversation that is no message."""
        return self.log.append(
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
