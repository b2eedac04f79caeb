"""Frames of a server as the client reads them: known ones, records, and the rest.

A server sends records of kinds that the client did not ask for, and a newer one frame types
that this version does not know. They are passed over; a record moves the position, so that it
is not asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from chatsvc.client.decoding import TolerantDecoder
from chatsvc.client.events import (
    MESSAGE,
    Received,
    decode_change,
    decode_received,
    received,
)
from chatsvc.client.kinds import MESSAGES_ONLY, ChosenKinds
from chatsvc.core.ids import parse_id
from chatsvc.wire import protocol as wire
from chatsvc.wire.cursor import Cursor

DEFAULT_HEARTBEAT: Final = 30.0
"""Seconds, where ``hello`` names none."""
ControlFrame = (
    wire.CaughtUp
    | wire.CursorMoved
    | wire.Ack
    | wire.Stored
    | wire.Error
    | wire.AuthExpiring
    | wire.Gap
    | wire.Reset
)


class OtherRecord(NamedTuple):
    """A record of a kind that the client did not ask for: its position in the log."""

    position: int


class _Hello(wire.Hello, tag="hello", kw_only=True):
    """With values for what a client can do without."""

    connection_id: str = ""
    protocol: str = ""
    server: str = ""
    features: list[str] = msgspec.field(default_factory=list)
    heartbeat_seconds: float = DEFAULT_HEARTBEAT
    max_content: int = 0
    expires_at: int = 0
    server_time: str = ""


class _Type(msgspec.Struct):
    type: Any = None


class _Record(msgspec.Struct):
    """What every record has, of whatever kind; control frames have less."""

    id: str
    channel: str
    sender: str
    created_at: str


_read_type = TolerantDecoder(_Type)
_read_record = TolerantDecoder(_Record)
_read_control: Final[dict[str, Callable[[bytes], ControlFrame]]] = {
    "caught_up": TolerantDecoder(wire.CaughtUp),
    "cursor": TolerantDecoder(wire.CursorMoved),
    "ack": TolerantDecoder(wire.Ack),
    "stored": TolerantDecoder(wire.Stored),
    "error": TolerantDecoder(wire.Error),
    "auth_expiring": TolerantDecoder(wire.AuthExpiring),
    "gap": TolerantDecoder(wire.Gap),
    "reset": TolerantDecoder(wire.Reset),
}
read_hello: Final[Callable[[bytes], wire.Hello]] = TolerantDecoder(_Hello)


def decode_frame(
    data: bytes, epoch: str, kinds: ChosenKinds = MESSAGES_ONLY
) -> ControlFrame | Received | OtherRecord | None:
    """Decode a text message of the server after its ``hello``.

    Args:
        data: the JSON.
        epoch: the epoch of the log that a record belongs to, for its cursor.
        kinds: those of records that the client asked for.

    Returns:
        ``None`` for a frame that is of no use to this version.

    Raises:
        msgspec.DecodeError: not a JSON object, or a frame of this protocol without a
            member that the protocol requires.
    """
    kind = _read_type(data).type
    if not isinstance(kind, str):
        return _other(data)
    if kind == MESSAGE and kind in kinds:
        return decode_received(data, epoch)
    read = _read_control.get(kind)
    if read is not None:
        return read(data)
    record = _other(data)
    if record is None or kind not in kinds:
        return record
    return received(decode_change(data), epoch)


def read_cursor(text: str) -> Cursor | None:
    """Split ``epoch.id``; ``None`` for anything else.

    The epoch is the server's own text: a client compares it, and gives it back.
    """
    epoch, _, position = text.rpartition(".")
    try:
        return Cursor(epoch, parse_id(position)) if epoch else None
    except ValueError:
        return None


def _other(data: bytes) -> OtherRecord | None:
    try:
        return OtherRecord(parse_id(_read_record(data).id))
    except (msgspec.DecodeError, ValueError):
        return None
