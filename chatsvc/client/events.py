"""Events of the client: records, and changes of the connection and the position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import msgspec

from chatsvc.client.decoding import TolerantDecoder, decode_object
from chatsvc.core.ids import parse_id
from chatsvc.wire.protocol import Hello

MESSAGE: Final = "message"
"""The ``type`` of a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message. ``content`` is untrusted text: escape it where it is shown.

    ``created_at`` is RFC 3339 UTC with milliseconds, ``raw`` the JSON as it came, which
    may hold members that this version does not know. ``participants`` is empty in a group,
    whose members come and go. Both it and ``content`` are empty where a newer server leaves
    them out.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A record that is no message: what somebody did, as its ``kind`` says.

    ``fields`` are the members of its kind, beside those that every record has. They are as
    untrusted as the ``content`` of a message. ``raw`` is the JSON as it came.
    """

    kind: str
    id: str
    channel: str
    sender: str
    created_at: str
    fields: Mapping[str, Any]
    raw: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReceived(Change):
    """A change for this user, who may have caused it. ``cursor`` resumes after it.

    Only where the client asks for ``kinds``.
    """

    cursor: str


Record = Message | Change
Received = MessageReceived | ChangeReceived


@dataclass(frozen=True, slots=True)
class Connected:
    """The server sent ``hello``.

    ``hello.recovered`` says whether all that was missed follows; ``cursor`` is the
    client's position.
    """

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
    """All that was missed has been delivered; what follows is live."""

    cursor: str


@dataclass(frozen=True, slots=True)
class CursorMoved:
    """Everything up to here is known, though nothing of it was for this user."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Not delivered: what is above ``from_id``, up to and including ``to_id``.

    A range to fetch by ``history``, not a loss.
    """

    from_id: str
    to_id: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Some messages above ``from_id``, up to and including ``to_id``, are lost for good.

    An older database was put back, and the log no longer held them. Those that are left come
    as usual.
    """

    from_id: str
    to_id: str


@dataclass(frozen=True, slots=True)
class Reset:
    """The server's log began a new epoch; what is above ``from_id`` belongs to it.

    What of it is not known yet follows, unless ``fill_gaps`` is off.
    """

    epoch: str
    from_id: str

    @property
    def cursor(self) -> str:
        """The client's position in the new epoch."""
        return f"{self.epoch}.{self.from_id}"


@dataclass(frozen=True, slots=True)
class StoredUpTo:
    """What this client sent, up to this id, is in the server's database.

    Only with ``receipts=True``.
    """

    message_id: str


Event = (
    MessageReceived
    | ChangeReceived
    | Connected
    | Disconnected
    | CaughtUp
    | CursorMoved
    | Gap
    | Lost
    | Reset
    | StoredUpTo
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
    created_at: str
    content: str = ""
    participants: tuple[str, ...] = ()
    client_id: str | None = None
    metadata: dict[str, Any] | None = None


class _Kind(msgspec.Struct):
    type: Any = MESSAGE


_COMMON: Final = ("id", "channel", "sender", "created_at")
"""What every record has, beside its ``type``."""

_MESSAGE_FIELDS: Final = tuple(field.name for field in fields(Message))
_CHANGE_FIELDS: Final = tuple(field.name for field in fields(Change))

_read_wire = TolerantDecoder(_Wire)
_read_kind = TolerantDecoder(_Kind)


def decode_message(data: bytes) -> Message:
    """Decode a message; members that are not known are left in ``raw`` alone.

    Raises:
        msgspec.DecodeError: not JSON, or not a message.
    """
    return Message(**_members(data), raw=data)


def decode_received(data: bytes, epoch: str) -> MessageReceived:
    """Decode a message as an event, with the cursor that resumes after it.

    Raises:
        msgspec.DecodeError: not JSON, or not a message.
    """
    members = _members(data)
    return MessageReceived(**members, raw=data, cursor=f"{epoch}.{members['id']}")


def decode_entry(data: bytes) -> Message | None:
    """Decode an entry of a page; ``None`` for a kind that this version does not know.

    A newer server's pages may hold them, as its sockets do.
    """
    try:
        if _read_kind(data).type != MESSAGE:
            return None
        return decode_message(data)
    except msgspec.DecodeError:
        return None


def decode_change(data: bytes) -> Change:
    """Decode a record that is no message.

    Raises:
        msgspec.DecodeError: not JSON, or without what every record has.
    """
    members = decode_object(data)
    kind = members.pop("type", None)
    common = {name: members.pop(name, None) for name in _COMMON}
    if not all(isinstance(value, str) for value in (kind, *common.values())):
        raise msgspec.ValidationError(f"a record must have type, {', '.join(_COMMON)}")
    _check_id(common["id"])
    return Change(kind=kind, **common, fields=members, raw=data)


def decode_record(data: bytes) -> Record | None:
    """Decode a frame of a page of records; ``None`` for what is none in this version's form."""
    try:
        if _read_kind(data).type == MESSAGE:
            return decode_message(data)
        return decode_change(data)
    except msgspec.DecodeError:
        return None


def received(record: Record, epoch: str) -> Received:
    """Make a record of a page an event, with the cursor that resumes after it."""
    cursor = f"{epoch}.{record.id}"
    if isinstance(record, Message):
        values = {name: getattr(record, name) for name in _MESSAGE_FIELDS}
        return MessageReceived(**values, cursor=cursor)
    values = {name: getattr(record, name) for name in _CHANGE_FIELDS}
    return ChangeReceived(**values, cursor=cursor)


def _check_id(text: str) -> None:
    try:
        parse_id(text)
    except ValueError as exc:
        raise msgspec.ValidationError(str(exc)) from None


def _members(data: bytes) -> dict[str, Any]:
    message = _read_wire(data)
    _check_id(message.id)
    return {name: getattr(message, name) for name in _Wire.__struct_fields__}
