"""The log's record: an envelope that can be read without decoding the body.

Delivery, resume and the store's user index use ``audience`` and nothing else. The body is
the JSON that a client sees, encoded once; here it is bytes. An older program may find kinds
that it does not know: delivery forwards them unchanged, a persister stops.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from chatsvc.core.audience import places
from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.ids import created_at, format_id

RECORD_VERSION: Final = 1

RECORD_BYTES: Final = 460
"""Bytes of memory of a record without its body and its audience: the struct, its short
strings, its entry in the log's order. ``tests/unit/log/test_backlog.py`` measures it."""
PLACE_BYTES: Final = 10
"""Bytes of each further entry of a record in an existing list: a user's, a channel's."""


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record that has no id yet.

    ``rest`` is the body's JSON object without ``type``, ``id`` and ``created_at``,
    which the log adds (:func:`compose_body`). ``audience`` is sorted and holds the ids of
    all recipients, the sender included. ``origin`` is the connection that sent it, or the
    device that a send over HTTP names. ``digest`` is that of the content: it distinguishes a
    retry from another message with the same ``client_id``. ``target`` is what a change is about:
    of a kind that is ``latest`` (:mod:`chatsvc.core.kinds`) the newest of each target is kept.
    """

    kind: str
    channel: str
    audience: tuple[str, ...]
    sender: str
    origin: str
    client_id: str | None
    digest: bytes
    rest: bytes
    target: str = ""

    @property
    def cost(self) -> int:
        """The cost of its record, whatever id it gets."""
        body = _HEAD_BYTES + len(self.kind) + len(self.rest)
        return RECORD_BYTES + body + PLACE_BYTES * places(self.audience)

    @property
    def key(self) -> tuple[str, str, str] | None:
        """The idempotency key: sender, channel and ``client_id``."""
        return None if self.client_id is None else (self.sender, self.channel, self.client_id)


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An accepted entry of the log. Its id is its position."""

    id: int
    kind: str
    channel: str
    audience: tuple[str, ...]
    sender: str
    origin: str
    client_id: str | None
    digest: bytes
    body: bytes
    target: str = ""

    @property
    def cost(self) -> int:
        """Bytes of memory of the record and of its entries in existing lists.

        Its audience is shared with the other records of its channel, and a list is made
        for the first record in it: ``log/tail.py`` adds both where they arise.
        """
        return RECORD_BYTES + len(self.body) + PLACE_BYTES * places(self.audience)


class _Packed(msgspec.Struct, array_like=True, gc=False):
    """The persisted form, version 1: a MessagePack array. New fields go at the end."""

    v: int
    kind: str
    channel: str
    audience: tuple[str, ...]
    sender: str
    origin: str
    client_id: str | None
    digest: bytes
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def compose_body(kind: str, record_id: int, rest: bytes) -> bytes:
    """Return the JSON that clients see: ``{"type":kind,"id":…,"created_at":…`` and ``rest``."""
    head = f'{{"type":"{kind}","id":"{record_id:016x}","created_at":"{created_at(record_id)}"'
    return head.encode() + (b"," + rest[1:] if len(rest) > 2 else b"}")


def _head(kind: str, record_id: int) -> bytes:
    return compose_body(kind, record_id, b"{}")[:-1]


_HEAD_BYTES: Final = len(_head("", 0))
"""Bytes of what :func:`compose_body` puts before ``rest``, without the kind."""


def accept(draft: Draft, record_id: int) -> Record:
    """Return the record of a draft and the id that the log gave it."""
    return Record(
        id=record_id,
        kind=draft.kind,
        channel=draft.channel,
        audience=draft.audience,
        sender=draft.sender,
        origin=draft.origin,
        client_id=draft.client_id,
        digest=draft.digest,
        body=compose_body(draft.kind, record_id, draft.rest),
        target=draft.target,
    )


def moved(record: Record, record_id: int) -> Record:
    """The same record in another place of the log: its id and ``created_at`` are new.

    Raises:
        LogDamaged: its body was not composed by :func:`compose_body`.
    """
    head = _head(record.kind, record.id)
    if not record.body.startswith(head):
        raise LogDamaged(f"record {format_id(record.id)} does not begin with its own id")
    return msgspec.structs.replace(
        record, id=record_id, body=_head(record.kind, record_id) + record.body[len(head) :]
    )


def pack(record: Record) -> bytes:
    """Return the persisted bytes, without the id, which is the row's key."""
    return _encode(
        _Packed(
            RECORD_VERSION,
            record.kind,
            record.channel,
            record.audience,
            record.sender,
            record.origin,
            record.client_id,
            record.digest,
            record.body,
        )
    )


def unpack(record_id: int, data: bytes) -> Record:
    """Decode a record; the inverse of :func:`pack`.

    Raises:
        VersionTooNew: written by a newer program.
        LogDamaged: it is not a record.
    """
    try:
        packed = _decode(data)
    except msgspec.MsgspecError as exc:
        version = _peek_version(data)
        if version is not None and version > RECORD_VERSION:
            raise _too_new(record_id, version) from exc
        raise LogDamaged(f"record {format_id(record_id)} cannot be read: {exc}") from exc
    if packed.v > RECORD_VERSION:
        raise _too_new(record_id, packed.v)
    return Record(
        id=record_id,
        kind=packed.kind,
        channel=packed.channel,
        audience=packed.audience,
        sender=packed.sender,
        origin=packed.origin,
        client_id=packed.client_id,
        digest=packed.digest,
        body=packed.body,
    )


def checksum(record_id: int, data: bytes) -> int:
    """Return the CRC-32 of the id and the bytes: it detects changed rows and moved ones."""
    return zlib.crc32(data, zlib.crc32(record_id.to_bytes(8, "big")))


def _too_new(record_id: int, version: int) -> VersionTooNew:
    return VersionTooNew(
        f"record {format_id(record_id)} has version {version}; this program knows up to "
        f"{RECORD_VERSION}: run the version that wrote it, or a newer one"
    )


def _peek_version(data: bytes) -> int | None:
    try:
        first = msgspec.msgpack.decode(data, type=list[msgspec.Raw])[0]
        return msgspec.msgpack.decode(first, type=int)
    except (msgspec.MsgspecError, IndexError):
        return None
