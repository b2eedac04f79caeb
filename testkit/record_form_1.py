"""Records in the persisted form 1, written and read as the programs before form 2 did."""

from __future__ import annotations

import msgspec

from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.ids import format_id
from chatsvc.core.record import Record, compose_body

VERSION = 1


class _Packed(msgspec.Struct, array_like=True, gc=False):
    v: int
    kind: str
    channel: str
    audience: tuple[str, ...]
    sender: str
    origin: str
    client_id: str | None
    digest: bytes
    body: bytes


class _Members(msgspec.Struct, omit_defaults=True):
    """The members of a message in the order that bodies had then."""

    channel: str
    sender: str
    content: str
    participants: list[str]
    client_id: str | None = None
    metadata: dict[str, object] | None = None


_decode = msgspec.msgpack.Decoder(_Packed).decode


def as_before(record: Record) -> Record:
    """The same message with the body that a program before form 2 gave it."""
    rest = msgspec.json.encode(msgspec.json.decode(record.body, type=_Members))
    return msgspec.structs.replace(record, body=compose_body(record.kind, record.id, rest))


def pack(record: Record) -> bytes:
    """The bytes that such a program kept of a record."""
    return msgspec.msgpack.encode(
        _Packed(
            VERSION,
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
    """What such a program made of bytes that it found."""
    try:
        packed = _decode(data)
    except msgspec.MsgspecError as exc:
        version = _peek_version(data)
        if version is not None and version > VERSION:
            raise _too_new(record_id, version) from exc
        raise LogDamaged(f"record {format_id(record_id)} cannot be read: {exc}") from exc
    if packed.v > VERSION:
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


def _too_new(record_id: int, version: int) -> VersionTooNew:
    return VersionTooNew(
        f"record {format_id(record_id)} has version {version}; this program knows up to "
        f"{VERSION}: run the version that wrote it, or a newer one"
    )


def _peek_version(data: bytes) -> int | None:
    try:
        first = msgspec.msgpack.decode(data, type=list[msgspec.Raw])[0]
        return msgspec.msgpack.decode(first, type=int)
    except (msgspec.MsgspecError, IndexError):
        return None
