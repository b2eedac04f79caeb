"""State of the client that outlives a connection, and how a connection ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from chatsvc.client.events import Sent
from chatsvc.client.http import ChatApi
from chatsvc.client.inbox import Inbox
from chatsvc.client.kinds import ChosenKinds
from chatsvc.client.outbox import Outbox
from chatsvc.client.own_sends import OwnSends
from chatsvc.client.policy import Backoff
from chatsvc.client.tokens import TokenSource


class Closed(NamedTuple):
    """How a connection ended.

    ``lasted`` is in seconds since ``hello``, if there was one. ``certain`` is false where
    a refusal may be a proxy's. ``final``: the server itself refused, and the same request will
    not be accepted later.
    """

    code: int
    reason: str
    lasted: float | None = None
    certain: bool = True
    final: bool = False


class Pending(NamedTuple):
    """A caller who waits for an ack."""

    client_id: str
    result: asyncio.Future[Sent]


class Context(NamedTuple):
    """State that outlives a connection."""

    api: ChatApi
    tokens: TokenSource
    inbox: Inbox
    outbox: Outbox[Pending]
    own: OwnSends
    outbox_changed: asyncio.Event
    backoff: Backoff
    draw: Callable[[], float]
    echo: bool
    kinds: ChosenKinds
    fill_gaps: bool
