"""The frames of the WebSocket protocol ``chatsvc.v1``, as structs, and their JSON.

A message frame is the message itself (``core/message.py``); it is not built here.
From a client everything is strict: unknown fields are refused. To a client
everything is open: it ignores fields and types it does not know.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

PROTOCOL_VERSION: Final = "chatsvc.v1"
BEARER_PREFIX: Final = "bearer."
MAX_REF: Final = 64


class Send(msgspec.Struct, tag="send", forbid_unknown_fields=True, kw_only=True, gc=False):
    """Speak to a set of people. Answered by ``ack`` or ``error`` with the same ``ref``."""

    participants: list[str]
    content: str
    ref: str | None = None
    client_id: str | None = None
    metadata: dict[str, Any] | None = None


class Auth(msgspec.Struct, tag="auth", forbid_unknown_fields=True, kw_only=True, gc=False):
    """A fresh token of the same user, before the old one expires."""

    token: str
    ref: str | None = None


class Ping(msgspec.Struct, tag="ping", forbid_unknown_fields=True, kw_only=True, gc=False):
    """Answered by ``pong``."""

    ref: str | None = None


ClientFrame = Send | Auth | Ping


class Hello(msgspec.Struct, tag="hello", omit_defaults=True, kw_only=True):
    """The first frame. ``recovered`` is there when ``since`` was given."""

    user: str
    connection_id: str
    protocol: str
    server: str
    features: list[str]
    epoch: str
    cursor: str
    heartbeat_seconds: float
    max_content: int
    expires_at: int
    recovered: bool | None = None


class CaughtUp(msgspec.Struct, tag="caught_up", kw_only=True):
    """Everything missed has been sent (or announced as a gap); what follows is live."""

    cursor: str


class CursorMoved(msgspec.Struct, tag="cursor", kw_only=True):
    """The position moved though nothing came for this user."""

    cursor: str


class Ack(msgspec.Struct, tag="ack", omit_defaults=True, kw_only=True, gc=False):
    """Accepted, and durable. ``duplicate`` where this ``client_id`` was known already."""

    id: str
    created_at: str
    ref: str | None = None
    duplicate: bool = False


class Stored(msgspec.Struct, tag="stored", kw_only=True):
    """Every message up to this id is in the store. For a socket that asked for receipts,
    about what it sent."""

    up_to: str


class Error(msgspec.Struct, tag="error", omit_defaults=True, kw_only=True):
    """A frame that was refused; the connection goes on. ``retry_after`` in seconds."""

    code: str
    detail: str
    ref: str | None = None
    pointer: str | None = None
    limit: int | None = None
    retry_after: float | None = None
    id: str | None = None


class Pong(msgspec.Struct, tag="pong", omit_defaults=True, kw_only=True):
    """The answer to a ``ping`` frame."""

    ref: str | None = None


class AuthOk(msgspec.Struct, tag="auth_ok", omit_defaults=True, kw_only=True):
    """The new token was taken. ``expires_at`` in Unix seconds."""

    expires_at: int
    ref: str | None = None


class AuthExpiring(msgspec.Struct, tag="auth_expiring", kw_only=True):
    """The token ends soon: send ``auth`` with a fresh one."""

    in_seconds: int


class Gap(msgspec.Struct, tag="gap", kw_only=True):
    """Not sent: what lies above ``from`` up to ``to``. A range to fetch, not a loss."""

    from_: str = msgspec.field(name="from")
    to: str


class Reset(msgspec.Struct, tag="reset", kw_only=True):
    """The log began a new life; what is above ``from`` belongs to it."""

    epoch: str
    from_: str = msgspec.field(name="from")


ServerFrame = (
    Hello
    | CaughtUp
    | CursorMoved
    | Ack
    | Stored
    | Error
    | Pong
    | AuthOk
    | AuthExpiring
    | Gap
    | Reset
)
_encoder = msgspec.json.Encoder()
_client_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)


def encode_frame(frame: ServerFrame | ClientFrame) -> bytes:
    """The frame's JSON, for a text message."""
    return _encoder.encode(frame)


def decode_client_frame(data: bytes) -> ClientFrame:
    """Raises:
    msgspec.ValidationError: JSON, but not a frame of this protocol.
    msgspec.DecodeError: not JSON.
    """
    return _client_decoder.decode(data)
