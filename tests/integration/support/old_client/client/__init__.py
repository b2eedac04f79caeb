"""The Python client of chatsvc: asyncio, typed events, reconnects and resumes by itself.

Two participants in one program::

    import asyncio
    from chatsvc.client import ChatClient, MessageReceived

    async def main(url: str, alice_token: str, bob_token: str) -> None:
        async with ChatClient(url, alice_token) as alice, ChatClient(url, bob_token) as bob:
            await bob.wait_connected()
            await alice.send(["alice", "bob"], "Hello!")
            async for event in bob:
                if isinstance(event, MessageReceived):
                    print(f"{event.sender}: {event.content}")
                    break

A token that is renewed, and a cursor that outlives the program::

    async def fresh_token() -> str:
        return await my_login.token()

    async with ChatClient(url, fresh_token, since=load_cursor()) as client:
        async for event in client:
            await handle(event)
            save_cursor(client.cursor)

Without a socket, for a script: :class:`ChatApi`.
"""

from tests.integration.support.old_client.client.client import ChatClient
from tests.integration.support.old_client.client.errors import (
    ApiError,
    ClientClosed,
    ClientError,
    FieldError,
    GaveUp,
    QueueFull,
    Refused,
    SendRefused,
    TokenUnavailable,
    Unreachable,
)
from tests.integration.support.old_client.client.events import (
    CaughtUp,
    Connected,
    CursorMoved,
    Disconnected,
    Event,
    Gap,
    Message,
    MessageReceived,
    Reset,
    Sent,
    StoredUpTo,
)
from tests.integration.support.old_client.client.http import ChatApi, Conversation, ConversationPage, Page, StoredMessage
from tests.integration.support.old_client.client.policy import Backoff
from tests.integration.support.old_client.client.tokens import Token
from tests.integration.support.old_client.client.uuid7 import uuid7

__all__ = [
    "ApiError",
    "Backoff",
    "CaughtUp",
    "ChatApi",
    "ChatClient",
    "ClientClosed",
    "ClientError",
    "Connected",
    "Conversation",
    "ConversationPage",
    "CursorMoved",
    "Disconnected",
    "Event",
    "FieldError",
    "Gap",
    "GaveUp",
    "Message",
    "MessageReceived",
    "Page",
    "QueueFull",
    "Refused",
    "Reset",
    "SendRefused",
    "Sent",
    "StoredMessage",
    "StoredUpTo",
    "Token",
    "TokenUnavailable",
    "Unreachable",
    "uuid7",
]
