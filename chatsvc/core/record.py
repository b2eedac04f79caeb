"""The log's record: an envelope that can be read without decoding the body.

Delivery, resume and the store's user index use ``audience`` and nothing else. The body is
the JSON that a client sees, encoded once; here it is bytes. What the envelope says is persisted
once, and put before the rest of the body when a record is read. An older program may find kinds
that it does not know: delivery forwards them unchanged, a persister stops.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec

from chatsvc.core.audience import places
from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.ids import created_at, format_id

RECORD_VERSION: Final = 2
"""What :func:`pack` writes. Version 1 is read for ever."""

RECORD_BYTES: Final = 460
"""Bytes of memory of a record without its body and its audience: the struct, its short
strings, its entry in the log's order. ``tests/unit/log/test_backlog.py`` measures it."""
PLACE_BYTES: Final = 10
"""Bytes of each further entry of a record in an existing list: a user's, a channel's."""
TOUCH_BYTES: Final = 120
"""Bytes of a key that a record touches, without its text: its entry in ``log/guards.py``."""

_NAMES_PARTICIPANTS: Final = "message"
"""The one kind whose bodies name the participants; of other kinds ``rest`` has what they need."""


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record that has no id yet.

    ``rest`` is the body's JSON object without ``type``, ``id`` and ``created_at``,
    which the log adds (:func:`compose_body`). It begins with the members that the envelope
    has, in the order of :class:`SharedMembers`; what is behind them begins at ``own_at``, with a
    comma or the closing brace (0: not known, so that :func:`pack_draft` looks for it).

    ``audience`` is sorted and holds the ids of all recipients, the sender included. ``origin``
    is the connection that sent it, or the device that a send over HTTP names. ``digest`` is that
    of the content: it distinguishes a retry from another message with the same ``client_id``.
    ``target`` is what a change is about: of a kind that is ``latest`` (:mod:`chatsvc.core.kinds`)
    the newest of each target is kept. ``touches`` are the keys of the state that it changes
    (``log/guards.py``).
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
    touches: tuple[str, ...] = ()
    own_at: int = 0

    @property
    def cost(self) -> int:
        """The cost of its record, whatever id it gets."""
        body = _HEAD_BYTES + len(self.kind) + len(self.rest)
        cost = RECORD_BYTES + body + PLACE_BYTES * places(self.audience)
        return cost + _names_bytes(self) if self.touches or self.target else cost

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
    touches: tuple[str, ...] = ()

    @property
    def cost(self) -> int:
        """Bytes of memory of the record and of its entries in existing lists.

        Its audience is shared with the other records of its channel, and a list is made
        for the first record in it: ``log/tail.py`` adds both where they arise.
        """
        cost = RECORD_BYTES + len(self.body) + PLACE_BYTES * places(self.audience)
        return cost + _names_bytes(self) if self.touches or self.target else cost


def _names_bytes(of: Draft | Record) -> int:
    """Bytes of what most records have not: the keys that they touch, and what they are about."""
    touched = TOUCH_BYTES * len(of.touches) + sum(map(text_bytes, of.touches))
    return touched + text_bytes(of.target) if of.target else touched


def text_bytes(text: str) -> int:
    """Bytes of memory of a text, at most, the same before and after it was encoded.

    One that is not ASCII keeps its UTF-8 once it was encoded.
    """
    if text.isascii():
        return 50 + len(text)
    return 80 + len(text) * (8 if max(text) > "\uffff" else 5)


class SharedMembers(msgspec.Struct, omit_defaults=True, gc=False):
    """The members of a body that its envelope has, in the order in which a body begins with them.

    After ``type``, ``id`` and ``created_at``. Only a ``message`` names its participants.
    """

    channel: str
    sender: str
    participants: tuple[str, ...] | None = None
    client_id: str | None = None


class _Form1(msgspec.Struct, array_like=True, tag_field="v", tag=1, gc=False):
    """The persisted form, version 1: a MessagePack array with the whole body."""

    kind: str
    channel: str
    audience: tuple[str, ...]
    sender: str
    origin: str
    client_id: str | None
    digest: bytes
    body: bytes


class _Form2(msgspec.Struct, array_like=True, tag_field="v", tag=2, gc=False):
    """The persisted form, version 2: a MessagePack array. New fields go at the end.

    ``to`` is nil where the channel's key lists exactly the audience. ``members``, ``settings``,
    ``filters`` and ``keys`` are nil: a program that finds something there knows more than this
    one. ``rest`` are the bytes of the body behind ``type``, ``id``, ``created_at`` and the
    :class:`SharedMembers`; or an array with the whole body, as it is, where that does not
    begin with them: it was written in version 1 and gets another place, or is unreadable.
    """

    kind: str
    channel: str
    to: tuple[str, ...] | None
    members: Any
    settings: Any
    filters: Any
    keys: Any
    sender: str
    origin: str
    client_id: str | None
    digest: bytes
    touches: tuple[str, ...]
    target: str
    rest: bytes | tuple[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Form1 | _Form2).decode
_encode_json = msgspec.json.Encoder().encode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are damaged: text that is no UTF-8, and arrays in arrays
without end, are no errors of its own."""


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
        touches=draft.touches,
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
    channel, audience = record.channel, record.audience
    listed = channel[:1] != "," and tuple(channel.split(",")) == audience
    return _pack(record, None if listed else audience, _own_members(record))


def pack_draft(draft: Draft) -> bytes:
    """Return what :func:`pack` returns of the draft's record, whatever its id."""
    if not draft.own_at:
        return pack(accept(draft, 0))
    channel, audience = draft.channel, draft.audience
    # As in pack, for less: the ids of those who take part have no commas.
    listed = channel[0] != "," and channel == ",".join(audience)
    return _pack(draft, None if listed else audience, draft.rest[draft.own_at :])


def _pack(of: Draft | Record, to: tuple[str, ...] | None, rest: bytes | tuple[bytes]) -> bytes:
    # In the order of _Form2, of which no object is made: every send comes through here.
    return _encode(
        (
            RECORD_VERSION,
            of.kind,
            of.channel,
            to,
            None,
            None,
            None,
            None,
            of.sender,
            of.origin,
            of.client_id,
            of.digest,
            of.touches,
            of.target,
            rest,
        )
    )


_LATER_FIELDS: Final = ("members", "settings", "filters", "keys")
"""What a program that folds them will write; one that does not must not go on."""
_NOTHING_LATER: Final = (None, None, None, None)


def _first_of(later: tuple[object, ...]) -> str:
    return next(name for name, value in zip(_LATER_FIELDS, later, strict=True) if value is not None)


def _own_members(record: Record) -> bytes | tuple[bytes]:
    """What a body has beyond its envelope, or all of it where it does not begin with that."""
    envelope = _envelope(
        record.kind, record.id, record.channel, record.sender, record.audience, record.client_id
    )
    return record.body[len(envelope) :] if record.body.startswith(envelope) else (record.body,)


def _envelope(
    kind: str,
    record_id: int,
    channel: str,
    sender: str,
    audience: tuple[str, ...],
    client_id: str | None,
) -> bytes:
    """What a body begins with, without the brace that would end it."""
    participants = audience if kind == _NAMES_PARTICIPANTS else None
    shared = _encode_json(SharedMembers(channel, sender, participants, client_id))
    return compose_body(kind, record_id, shared)[:-1]


def unpack(record_id: int, data: bytes) -> Record:
    """Decode a record; the inverse of :func:`pack`.

    Raises:
        VersionTooNew: written by a newer program.
        LogDamaged: it is not a record.
    """
    try:
        packed = _decode(data)
    except _UNREADABLE as exc:
        version = _peek_version(data)
        if version is not None and version > RECORD_VERSION:
            raise _too_new(record_id, f"version {version}") from exc
        raise LogDamaged(f"record {format_id(record_id)} cannot be read: {exc}") from exc
    if isinstance(packed, _Form2):
        try:
            return _of_form_2(record_id, packed)
        except ValueError as exc:  # no year 10,000
            raise LogDamaged(f"record {format_id(record_id)} cannot be read: {exc}") from exc
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


def _of_form_2(record_id: int, packed: _Form2) -> Record:
    channel, audience, kind = packed.channel, packed.to, packed.kind
    later = packed.members, packed.settings, packed.filters, packed.keys
    if later != _NOTHING_LATER:
        raise _too_new(record_id, f"something in {_first_of(later)!r}")
    if audience is None:
        if channel[:1] == ",":
            raise _too_new(record_id, "nobody in 'to', and a channel whose key lists nobody")
        audience = tuple(channel.split(","))
    rest = packed.rest
    if isinstance(rest, bytes):
        body = _envelope(kind, record_id, channel, packed.sender, audience, packed.client_id) + rest
    else:
        (body,) = rest
    return Record(
        id=record_id,
        kind=kind,
        channel=channel,
        audience=audience,
        sender=packed.sender,
        origin=packed.origin,
        client_id=packed.client_id,
        digest=packed.digest,
        body=body,
        target=packed.target,
        touches=packed.touches,
    )


def checksum(record_id: int, data: bytes) -> int:
    """Return the CRC-32 of the id and the bytes: it detects changed rows and moved ones."""
    return zlib.crc32(data, zlib.crc32(record_id.to_bytes(8, "big")))


def _too_new(record_id: int, what: str) -> VersionTooNew:
    return VersionTooNew(
        f"record {format_id(record_id)} has {what}; this program knows up to version "
        f"{RECORD_VERSION}: run the version that wrote it, or a newer one"
    )


def _peek_version(data: bytes) -> int | None:
    try:
        first = msgspec.msgpack.decode(data, type=list[msgspec.Raw])[0]
        return msgspec.msgpack.decode(first, type=int)
    except (*_UNREADABLE, IndexError):
        return None
