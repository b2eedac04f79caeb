"""The calls of the HTTP interface, on an object that has a :class:`ChatApi`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatsvc.client.answers import ChangesPage, ConversationPage, Page, StoredMessage
from chatsvc.client.events import Sent
from chatsvc.client.http import ChatApi


class HttpCalls:
    """Passes each call on to its ``api``."""

    api: ChatApi

    async def post(
        self,
        participants: Iterable[str] | None = None,
        content: str | None = None,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        channel: str | None = None,
    ) -> Sent:
        """:meth:`ChatApi.post <chatsvc.client.http.ChatApi.post>`: send without the socket."""
        return await self.api.post(
            participants, content, channel=channel, client_id=client_id, metadata=metadata
        )

    async def history(
        self,
        participants: Iterable[str] | None = None,
        *,
        channel: str | None = None,
        limit: int = 100,
        before: str | None = None,
        after: str | None = None,
        around: str | None = None,
    ) -> Page:
        """:meth:`ChatApi.history <chatsvc.client.http.ChatApi.history>`."""
        return await self.api.history(
            participants, channel=channel, limit=limit, before=before, after=after, around=around
        )

    async def changes(
        self,
        *,
        after: str | None = None,
        channel: str | None = None,
        kinds: Iterable[str] | None = None,
        limit: int = 100,
    ) -> ChangesPage:
        """:meth:`ChatApi.changes <chatsvc.client.http.ChatApi.changes>`."""
        return await self.api.changes(after=after, channel=channel, kinds=kinds, limit=limit)

    async def conversations(
        self, *, limit: int = 100, before: str | None = None
    ) -> ConversationPage:
        """:meth:`ChatApi.conversations <chatsvc.client.http.ChatApi.conversations>`."""
        return await self.api.conversations(limit=limit, before=before)

    async def connections(self, users: Iterable[str]) -> dict[str, int]:
        """:meth:`ChatApi.connections <chatsvc.client.http.ChatApi.connections>`."""
        return await self.api.connections(users)

    async def message(self, message_id: str) -> StoredMessage:
        """:meth:`ChatApi.message <chatsvc.client.http.ChatApi.message>`."""
        return await self.api.message(message_id)
