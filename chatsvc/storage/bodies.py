"""What a store must be able to read of a record before it can keep it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from chatsvc.core.kinds import Kinds
from chatsvc.core.membership import is_audience_of, is_member_channel
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.record import Record
from chatsvc.storage.ports.messages import Rejection

DIGEST_CONFLICT: Final = "digest_conflict"
AUDIENCE_MISMATCH: Final = "audience_mismatch"

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Participants(msgspec.Struct, gc=False):
    """The one member of a message's JSON that a conversation is listed with."""

    participants: tuple[str, ...]


decode_participants = msgspec.json.Decoder(Participants).decode


DecodedRecord = tuple[Record, dict[str, Any]]
"""A record, and its body decoded. A plain tuple: one is made of every record that is stored."""


def partition_records(
    records: Sequence[Record], kinds: Kinds = MESSAGES_ONLY
) -> tuple[list[DecodedRecord], list[Rejection]]:
    """Part what can be stored from what never can.

    Args:
        records: messages, and changes.
        kinds: those that this program stores.

    Codes of the rejections: ``unknown_kind``, ``unreadable_body``, ``audience_mismatch``.
    """
    decoded: list[DecodedRecord] = []
    rejections: list[Rejection] = []
    names = kinds.names
    for record in records:
        if record.kind not in names:
            reason = f"this program stores no records of kind {record.kind!r}"
            rejections.append(Rejection(record, "unknown_kind", reason))
            continue
        try:
            body = _decode(record.body)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
            # The text of a decoder names a position or a type, never a value.
            reason = f"the body is not a JSON object: {exc}"
            rejections.append(Rejection(record, "unreadable_body", reason))
            continue
        check = _check_participants if kinds.counts(record.kind) else _check_audience
        rejection = check(record, body)
        if rejection is not None:
            rejections.append(rejection)
            continue
        decoded.append((record, body))
    return decoded, rejections


def _check_participants(record: Record, body: dict[str, Any]) -> Rejection | None:
    """Why a message is not one to its participants, if it is not: they are stored once for all.

    Messages of groups and rooms name nobody, whomever they are for.
    """
    participants = body.get("participants")
    if isinstance(participants, list):
        if tuple(participants) == record.audience:
            return None  # the usual case: none of them is looked at alone
        if not participants and is_member_channel(record.channel):
            return None
        if all(isinstance(user, str) for user in participants):
            reason = "a message must be for all its participants, and no others"
            return Rejection(record, AUDIENCE_MISMATCH, reason)
    reason = "the body's participants are not a list of user ids"
    return Rejection(record, "unreadable_body", reason)


def _check_audience(record: Record, body: dict[str, Any]) -> Rejection | None:
    """Why a change is not for the people of its conversation, if it is not.

    One of a group or a room is for its members, or for those whom it names.
    """
    if is_member_channel(record.channel) or is_audience_of(record.channel, record.audience):
        return None
    reason = "a change must be for all participants of its conversation, and no others"
    return Rejection(record, AUDIENCE_MISMATCH, reason)


class Sameness(NamedTuple):
    """What makes two records under one id the same record.

    The digest alone does not: it covers the content and the metadata, and two messages with
    equal content may be of different conversations.
    """

    digest: bytes
    channel: str
    sender: str
    client_id: str | None


def sameness(record: Record) -> Sameness:
    """What a record that is stored under the same id must equal, to be this one."""
    return Sameness(record.digest, record.channel, record.sender, record.client_id)


def conflicting(record: Record) -> Rejection:
    """The id is taken by another message."""
    return Rejection(record, DIGEST_CONFLICT, "the store holds another message under this id")
