"""The Python client of chatsvc: asyncio, typed events, reconnecting and resuming by itself.

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
                    await bob.send(channel=event.channel, content="Hello, Alice!")
                    break

A token that is renewed, and a cursor that outlives the program::

    async def fresh_token() -> str:
        return await my_login.token()

    async with ChatClient(url, fresh_token, since=load_cursor()) as client:
        async for event in client:
            await handle(event)
            save_cursor(client.cursor)

More than messages: ``ChatClient(url, token, kinds="all")`` has an event
:class:`ChangeReceived` for each record of another kind, in one order with the messages.

Groups: :class:`ClientGroups`, and what changes in them as :class:`ChangeReceived`::

    async with ChatClient(url, token, kinds=["message", "group", "membership"]) as client:
        group = await client.groups.create("Readers", ["bob", "carol"])
        await client.send(channel=group.channel, content="Hello, readers!")

Without a socket, for a script: :class:`ChatApi`. Both take an aiohttp session, an SSL
context and further headers.
"""

from chatsvc.client.answers import (
    ChangesPage,
    Conversation,
    ConversationPage,
    Page,
    StoredMessage,
)
from chatsvc.client.client import ChatClient
from chatsvc.client.errors import (
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
from chatsvc.client.events import (
    CaughtUp,
    Change,
    ChangeReceived,
    Connected,
    CursorMoved,
    Disconnected,
    Event,
    Gap,
    Lost,
    Message,
    MessageReceived,
    Reset,
    Sent,
    StoredUpTo,
)
from chatsvc.client.group_answers import (
    Group,
    GroupBan,
    GroupInvitation,
    GroupMember,
    GroupPage,
    InviteLink,
    MemberPage,
)
from chatsvc.client.groups import ClientGroups, GroupCalls
from chatsvc.client.http import ChatApi
from chatsvc.client.policy import Backoff
from chatsvc.client.tokens import Token
from chatsvc.client.uuid7 import uuid7

__all__ = [
    "ApiError",
    "Backoff",
    "CaughtUp",
    "Change",
    "ChangeReceived",
    "ChangesPage",
    "ChatApi",
    "ChatClient",
    "ClientClosed",
    "ClientError",
    "ClientGroups",
    "Connected",
    "Conversation",
    "ConversationPage",
    "CursorMoved",
    "Disconnected",
    "Event",
    "FieldError",
    "Gap",
    "GaveUp",
    "Group",
    "GroupBan",
    "GroupCalls",
    "GroupInvitation",
    "GroupMember",
    "GroupPage",
    "InviteLink",
    "Lost",
    "MemberPage",
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
