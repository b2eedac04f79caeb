"""What the client hands to its user: messages, and what befalls the connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from tests.integration.support.old_client.core.ids import parse_id
from tests.integration.support.old_client.wire.protocol import Hello


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody said. ``content`` is untrusted text: escape it where it is shown.

    ``created_at`` is RFC 3339 UTC with milliseconds, ``raw`` the JSON as it came, which
    may hold members that this version does not know.
    """

    id: str
    channel: str
    sender: str
    content: str
    created_at: str
    participants: tuple[str, ...]
    client_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived(Message):
    """A message for this user. ``cursor`` resumes after it."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The server said ``hello``; ``hello.recovered`` tells whether all that was missed
    follows. ``cursor`` is where the client stands."""

    hello: Hello
    cursor: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended, or could not be made.

    ``code`` is the close code, 1006 where there was none; ``retry_in`` is in seconds,
    ``None`` if the client will not come back.
    """

    code: int
    reason: str
    retry_in: float | None


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All that was missed has been handed over; what follows is live."""

    cursor: str


@dataclass(frozen=True, slots=True)
class CursorMoved:
    """Everything up to here is known, though nothing of it was for this user."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Not handed over: what lies above ``from_id``, up to and including ``to_id``.

    A range to fetch by ``history``, not a loss.
    """

    from_id: str
    to_id: str


@dataclass(frozen=True, slots=True)
class Reset:
    """The server's log began a new life; what is above ``from_id`` belongs to it."""

    epoch: str
    from_id: str


@dataclass(frozen=True, slots=True)
class StoredUpTo:
    """What this client sent, up to this id, is in the server's database; see ``receipts``."""

    message_id: str


Event = (
    MessageReceived | Connected | Disconnected | CaughtUp | CursorMoved | Gap | Reset | StoredUpTo
)


class Sent(NamedTuple):
    """A message that the server has accepted, durably.

    ``duplicate``: an earlier send with this ``client_id`` was the one accepted.
    """

    id: str
    created_at: str
    client_id: str
    duplicate: bool = False


class _Wire(msgspec.Struct, kw_only=True):
    id: str
    channel: str
    sender: str
    content: str
    created_at: str
    participants: tuple[str, ...]
    client_id: str | None = None
    metadata: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Wire).decode


def decode_message(data: bytes) -> Message:
    """A message's JSON; members that are not known are left in ``raw`` alone.

    Raises:
        msgspec.DecodeError: not JSON, or not a message.
    """
    wire = _checked(data)
    return Message(**_members(wire), raw=data)


def decode_received(data: bytes, epoch: str) -> MessageReceived:
    """The same, as an event with the cursor that resumes after it."""
    wire = _checked(data)
    return MessageReceived(**_members(wire), raw=data, cursor=f"{epoch}.{wire.id}")


def _checked(data: bytes) -> _Wire:
    wire = _decode(data)
    try:
        parse_id(wire.id)
    except ValueError as exc:
        raise msgspec.ValidationError(str(exc)) from exc
    return wire


def _members(wire: _Wire) -> dict[str, Any]:
    return {name: getattr(wire, name) for name in _Wire.__struct_fields__}
