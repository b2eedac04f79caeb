"""State of a client without a connection, for the tests of one."""

from __future__ import annotations

import asyncio
from typing import Any

from chatsvc.client import Backoff, ChatApi
from chatsvc.client.context import Context
from chatsvc.client.inbox import Inbox
from chatsvc.client.kinds import MESSAGES_ONLY
from chatsvc.client.outbox import Outbox
from chatsvc.client.own_sends import OwnSends
from chatsvc.client.tokens import TokenSource


def context(**members: Any) -> Context:
    """A client's context; ``members`` replace what it has by default."""
    tokens = TokenSource("t")
    plain = Context(
        api=ChatApi("http://127.0.0.1:1", tokens),
        tokens=tokens,
        inbox=Inbox(10),
        outbox=Outbox(),
        own=OwnSends(),
        outbox_changed=asyncio.Event(),
        backoff=Backoff(),
        draw=lambda: 0.25,
        echo=False,
        kinds=MESSAGES_ONLY,
        fill_gaps=True,
    )
    return plain._replace(**members)
