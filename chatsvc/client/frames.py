"""Frames of a server as the client reads them: known ones, records, and the rest.

A newer server sends frame types and kinds of record that this version does not know.
They are passed over; a record moves the position, so that it is not asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from chatsvc.client.decoding import TolerantDecoder
from chatsvc.client.events import MESSAGE, MessageReceived, decode_received
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


class UnknownRecord(NamedTuple):
    """A record of a kind that this version does not know: its position in the log."""

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


def decode_frame(data: bytes, epoch: str) -> ControlFrame | MessageReceived | UnknownRecord | None:
    """Decode a text message of the server after its ``hello``.

    Args:
        data: the JSON.
        epoch: the epoch of the log that a message belongs to, for its cursor.

    Returns:
        ``None`` for a frame that is of no use to this version.

    Raises:
        msgspec.DecodeError: not a JSON object, or a frame of this protocol without a
            member that the protocol requires.
    """
    kind = _read_type(data).type
    if not isinstance(kind, str):
        return _record(data)
    if kind == MESSAGE:
        return decode_received(data, epoch)
    read = _read_control.get(kind)
    return _record(data) if read is None else read(data)


def read_cursor(text: str) -> Cursor | None:
    """Split ``epoch.id``; ``None`` for anything else.

    The epoch is the server's own text: a client compares it, and gives it back.
    """
    epoch, _, position = text.rpartition(".")
    try:
        return Cursor(epoch, parse_id(position)) if epoch else None
    except ValueError:
        return None


def _record(data: bytes) -> UnknownRecord | None:
    try:
        return UnknownRecord(parse_id(_read_record(data).id))
    except (msgspec.DecodeError, ValueError):
        return None
