"""The socket command of messages: ``send``."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec

from chatsvc.api.command import Command, CommandReply, Connection
from chatsvc.api.fields import Keywords
from chatsvc.core.ids import created_at, format_id
from chatsvc.core.limits import Limits
from chatsvc.core.message import MAX_CLIENT_ID
from chatsvc.features.messages.model import ONE_CONVERSATION, send_bounds
from chatsvc.log.base import Appended
from chatsvc.wire.protocol import Ack, Send


class Sender(Protocol):
    """What accepts messages."""

    def submit(
        self,
        sender: str,
        origin: str,
        participants: list[str] | msgspec.UnsetType,
        content: str,
        client_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        channel: str | msgspec.UnsetType = msgspec.UNSET,
    ) -> asyncio.Future[Appended]:
        """See :meth:`chatsvc.features.messages.channels.ConversationSender.submit`."""


def commands(sender: Sender, limits: Limits) -> tuple[Command, ...]:
    """Return the commands of messages.

    The log bounds what is sent, so a send is not charged to its socket's rate unless it is a
    duplicate, which cost no commit and can be repeated without end.
    """
    submit = sender.submit

    def send(connection: Connection, request: Send) -> asyncio.Future[Appended]:
        return submit(
            connection.user,
            connection.origin,
            request.participants,
            request.content,
            request.client_id,
            request.metadata,
            request.channel,
        )

    return (
        Command(
            request=Send,
            answers=(Ack,),
            handler=send,
            reply=_acknowledge,
            bounds=_bounds(limits),
            request_schema={"oneOf": ONE_CONVERSATION},
        ),
    )


def _acknowledge(appended: Appended, ref: str | None) -> CommandReply:
    record_id, duplicate = appended.id, appended.duplicate
    ack = Ack(
        id=format_id(record_id), created_at=created_at(record_id), ref=ref, duplicate=duplicate
    )
    return CommandReply(ack, record_id, 1 if duplicate else 0)


def _bounds(limits: Limits) -> dict[str, Keywords]:
    text = f"1 to {MAX_CLIENT_ID} printable ASCII characters; a UUIDv7 is best."
    bounds = send_bounds(limits)
    return bounds | {"client_id": {**bounds["client_id"], "description": text}}
