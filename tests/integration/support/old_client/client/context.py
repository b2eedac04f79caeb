"""What outlives a connection of the client, and what is known of one that ended."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from tests.integration.support.old_client.client.events import Sent
from tests.integration.support.old_client.client.http import ChatApi
from tests.integration.support.old_client.client.inbox import Inbox
from tests.integration.support.old_client.client.outbox import Outbox
from tests.integration.support.old_client.client.policy import Backoff
from tests.integration.support.old_client.client.tokens import TokenSource


class Closed(NamedTuple):
    """How a connection ended; ``lasted`` is in seconds since ``hello``, if there was one."""

    code: int
    reason: str
    lasted: float | None = None


class Pending(NamedTuple):
    """A caller who waits for an ack."""

    client_id: str
    result: asyncio.Future[Sent]


class OwnSends:
    """The ``client_id`` of recent sends: history holds them, the consumer does not want them."""

    def __init__(self, most: int = 20_000) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def add(self, client_id: str) -> None:
        """Remember it, and forget the oldest beyond the bound."""
        self._known[client_id] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def __contains__(self, client_id: str | None) -> bool:
        return client_id in self._known


class Context(NamedTuple):
    """What outlives a connection."""

    api: ChatApi
    tokens: TokenSource
    inbox: Inbox
    outbox: Outbox[Pending]
    own: OwnSends
    outbox_changed: asyncio.Event
    backoff: Backoff
    echo: bool
    fill_gaps: bool
