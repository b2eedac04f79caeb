"""A message that a caller wants sent, as checked before anything is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from chatsvc.client.arguments import check_client_id, check_content, json_object
from chatsvc.client.destination import Destination, find_destination
from chatsvc.wire.protocol import Send, encode_frame


class Outgoing(NamedTuple):
    """The members of a send, over the socket or HTTP."""

    destination: Destination
    content: str
    client_id: str
    metadata: dict[str, Any] | None

    def frame(self, ref: str) -> bytes:
        """Return it as a frame of the socket, to be acknowledged by ``ref``."""
        return encode_frame(
            Send(
                ref=ref,
                participants=self.destination.participants,
                channel=self.destination.channel,
                content=self.content,
                client_id=self.client_id,
                metadata=self.metadata,
            )
        )


def check_outgoing(
    participants: Iterable[str] | None,
    channel: str | None,
    content: str | None,
    client_id: str | None,
    metadata: Mapping[str, Any] | None,
    *,
    mint: Callable[[], str],
) -> Outgoing:
    """Return the message to send.

    Args:
        mint: makes the ``client_id`` where the caller gives none.

    Raises:
        ValueError: both of ``participants`` and ``channel`` or neither, a ``client_id`` out
            of its bounds, a user id that is not valid Unicode, or metadata that is not JSON.
        TypeError: ``content`` or a user id is not a string.
    """
    content = check_content(content)
    check_client_id(client_id)
    carried = None if metadata is None else json_object(metadata)
    destination = find_destination(participants, channel)
    return Outgoing(destination, content, mint() if client_id is None else client_id, carried)
