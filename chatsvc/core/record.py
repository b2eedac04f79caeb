"""The log's record: an envelope that can be read without decoding the body.

Delivery, resume and the store's user index use ``audience`` and nothing else. The body is
the JSON that a client sees, encoded once; here it is bytes. What the envelope says is persisted
once, and put before the rest of the body when a record is read. An older program may find kinds
that it does not know: delivery forwards them unchanged, a persister stops.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from chatsvc.core.audience import INBOX_PARTICIPANTS
from chatsvc.core.errors import LogDamaged, VersionTooNew
from chatsvc.core.ids import created_at, format_id
from chatsvc.core.membership import (
    Channel,
    Filter,
    Member,
    RequestKey,
    StateChange,
    is_member_channel,
)
from chatsvc.core.record_size import PLACE_BYTES, PLACES_BYTES, RECORD_BYTES, rare_bytes

RECORD_VERSION: Final = 2
"""What :func:`pack` writes. Version 1 is read for ever."""

_NAMES_PARTICIPANTS: Final = "message"
"""The one kind whose bodies name the participants; of other kinds ``rest`` has what they need."""


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record that has no id yet.

    ``rest`` is the body's JSON object without ``type``, ``id`` and ``created_at``,
    which the log adds (:func:`compose_body`). It begins with the members that the envelope
    has, in the order of :class:`SharedMembers`; what is behind them begins at ``own_at``, with a
    comma or the closing brace (0: not known, so that :func:`pack_draft` looks for it).

    ``audience`` is sorted and holds the ids of all recipients, the sender included; empty: the
    members of the channel (:mod:`chatsvc.core.membership`). ``origin`` is the connection that sent
    it, or the device that a send over HTTP names. ``digest`` is that of the content: it tells a
    retry from another message with the same ``client_id``. ``target`` is what a change is about:
    of a kind that is ``latest`` (:mod:`chatsvc.core.kinds`) the newest of each target is kept.
    ``touches`` are the keys of the state that it changes (``log/guards.py``); ``state`` are the
    rows of the log's own state that it changes. ``keys`` are those of the further requests in it.
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
    state: StateChange | None = None
    keys: tuple[RequestKey, ...] = ()

    @property
    def cost(self) -> int:
        """The cost of its record, whatever id it gets."""
        cost = RECORD_BYTES + _HEAD_BYTES + len(self.kind) + len(self.rest)
        size = len(self.audience)
        cost += PLACES_BYTES[size] if size <= INBOX_PARTICIPANTS else PLACE_BYTES
        if self.touches or self.target or self.state or self.channel[:1] == ",":
            cost += rare_bytes(self)
        return cost

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
    state: StateChange | None = None
    keys: tuple[RequestKey, ...] = ()

    @property
    def cost(self) -> int:
        """Bytes of memory of the record and of its entries in existing lists.

        What it shares with others of its channel, and lists that it begins, ``log/tail.py`` adds.
        """
        size = len(self.audience)
        cost = RECORD_BYTES + len(self.body)
        cost += PLACES_BYTES[size] if size <= INBOX_PARTICIPANTS else PLACE_BYTES
        if self.touches or self.target or self.state or self.channel[:1] == ",":
            cost += rare_bytes(self)
        return cost


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

    ``to`` is nil where the channel's key lists exactly the audience, and where the audience are
    the members of the channel. ``members``, ``settings`` and ``filters`` are the rows of
    :class:`~chatsvc.core.membership.StateChange`, nil where there is none. ``rest`` are the bytes
    of the body behind ``type``, ``id``, ``created_at``, the count of the members and the
    :class:`SharedMembers`; or an array with the whole body, as it is, where that does not
    begin with them: it was written in version 1 and gets another place, or is unreadable.
    """

    kind: str
    channel: str
    to: tuple[str, ...] | None
    members: tuple[Member, ...] | None
    settings: Channel | None
    filters: tuple[Filter, ...] | None
    keys: tuple[RequestKey, ...] | None
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


def compose_body(kind: str, record_id: int, rest: bytes, member_count: int = -1) -> bytes:
    """Return the JSON that clients see: ``{"type":kind,"id":…,"created_at":…`` and ``rest``.

    Before that the number of members stands as ``member_count``, where it is given.
    """
    head = f'{{"type":"{kind}","id":"{record_id:016x}","created_at":"{created_at(record_id)}"'
    if member_count >= 0:
        head += f',"member_count":{member_count}'
    return f"{head},".encode() + rest[1:] if len(rest) > 2 else f"{head}}}".encode()


def _head(kind: str, record_id: int, member_count: int = -1) -> bytes:
    return compose_body(kind, record_id, b"{}", member_count)[:-1]


def _count_of(state: StateChange | None) -> int:
    return -1 if state is None or state.channel is None else state.channel.count


_HEAD_BYTES: Final = len(_head("", 0))
"""Bytes of what :func:`compose_body` puts before ``rest``, without the kind."""


def accept(draft: Draft, record_id: int) -> Record:
    """Return the record of a draft and the id that the log gave it."""
    if draft.state is not None:
        plain = accept(msgspec.structs.replace(draft, state=None), record_id)
        return with_state(plain, draft.state.at(record_id))
    plain = Record(
        id=record_id,
        kind=draft.kind,
        channel=draft.channel,
        audience=draft.audience,
        sender=draft.sender,
        origin=draft.origin,
        client_id=draft.client_id,
        digest=draft.digest,
        body=compose_body(draft.kind, record_id, draft.rest),
    )
    touches, target, keys = draft.touches, draft.target, draft.keys
    if not (touches or target or keys):
        return plain  # as nearly all are: each argument more costs every send
    return msgspec.structs.replace(plain, touches=touches, target=target, keys=keys)


def moved(record: Record, record_id: int) -> Record:
    """The same record in another place of the log: its id and ``created_at`` are new.

    Raises:
        LogDamaged: its body was not composed by :func:`compose_body`.
    """
    count = _count_of(record.state)
    head = _head(record.kind, record.id, count)
    if not record.body.startswith(head):
        raise LogDamaged(f"record {format_id(record.id)} does not begin with its own id")
    return msgspec.structs.replace(
        record, id=record_id, body=_head(record.kind, record_id, count) + record.body[len(head) :]
    )


def with_state(record: Record, state: StateChange) -> Record:
    """The same record with other rows; its body says the number of members that is in them."""
    before, after = _count_of(record.state), _count_of(state)
    if before == after:
        return msgspec.structs.replace(record, state=state)
    head = len(_head(record.kind, record.id, before))
    body = _head(record.kind, record.id, after) + record.body[head:]
    return msgspec.structs.replace(record, state=state, body=body)


def pack(record: Record) -> bytes:
    """Return the persisted bytes, without the id, which is the row's key."""
    channel, audience = record.channel, record.audience
    listed = channel[:1] != "," and tuple(channel.split(",")) == audience
    listed = listed or (not audience and is_member_channel(channel))
    return _pack(record, None if listed else audience, _own_members(record), record.state)


def pack_draft(draft: Draft) -> bytes:
    """Return what :func:`pack` returns of the draft's record, whatever its id."""
    if not draft.own_at or draft.state is not None:
        return pack(accept(draft, 0))
    channel, audience = draft.channel, draft.audience
    # As in pack, for less: the ids of those who take part have no commas.
    listed = channel == ",".join(audience) if channel[0] != "," else not audience
    return _pack(draft, None if listed else audience, draft.rest[draft.own_at :], None)


def _pack(
    of: Draft | Record,
    to: tuple[str, ...] | None,
    rest: bytes | tuple[bytes],
    state: StateChange | None,
) -> bytes:
    # In the order of _Form2, of which no object is made: every send comes through here.
    return _encode(
        (
            RECORD_VERSION,
            of.kind,
            of.channel,
            to,
            None if state is None else state.members or None,
            None if state is None else state.channel,
            None if state is None else state.filters or None,
            of.keys or None,
            of.sender,
            of.origin,
            of.client_id,
            of.digest,
            of.touches,
            of.target,
            rest,
        )
    )


def _own_members(record: Record) -> bytes | tuple[bytes]:
    """What a body has beyond its envelope, or all of it where it does not begin with that."""
    envelope = _envelope(
        record.kind,
        record.id,
        record.channel,
        record.sender,
        record.audience,
        record.client_id,
        _count_of(record.state),
    )
    return record.body[len(envelope) :] if record.body.startswith(envelope) else (record.body,)


def _envelope(
    kind: str,
    record_id: int,
    channel: str,
    sender: str,
    audience: tuple[str, ...],
    client_id: str | None,
    member_count: int,
) -> bytes:
    """What a body begins with, without the brace that would end it."""
    participants = audience if kind == _NAMES_PARTICIPANTS else None
    shared = _encode_json(SharedMembers(channel, sender, participants, client_id))
    return compose_body(kind, record_id, shared, member_count)[:-1]


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
    if isinstance(packed, _Form1):
        return Record(id=record_id, **msgspec.structs.asdict(packed))
    try:
        return _of_form_2(record_id, packed)
    except ValueError as exc:  # no year 10,000
        raise LogDamaged(f"record {format_id(record_id)} cannot be read: {exc}") from exc


def _of_form_2(record_id: int, packed: _Form2) -> Record:
    channel, audience, kind = packed.channel, packed.to, packed.kind
    if audience is None:
        if channel[:1] != ",":
            audience = tuple(channel.split(","))
        elif is_member_channel(channel):
            audience = ()
        else:
            raise _too_new(record_id, "nobody in 'to', and a channel whose key lists nobody")
    state: StateChange | None = None
    if packed.members or packed.settings is not None or packed.filters:
        state = StateChange(packed.members or (), packed.settings, packed.filters or ())
    rest = packed.rest
    if isinstance(rest, bytes):
        envelope = _envelope(
            kind, record_id, channel, packed.sender, audience, packed.client_id, _count_of(state)
        )
        body = envelope + rest
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
        state=state,
        keys=packed.keys or (),
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
