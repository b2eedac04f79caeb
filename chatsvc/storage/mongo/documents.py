"""Records as MongoDB documents, and back to the JSON that was sent.

A message's fields are the document's, for whoever reads the collection with tools of
their own. Where those fields alone would not give back the same JSON value (metadata
with keys or numbers that BSON cannot carry faithfully, members that this version does
not know), the document also holds the JSON itself, in ``body``, and that is what
history answers with.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import bson
import msgspec
from bson.errors import BSONError
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import VersionTooNew
from chatsvc.core.ids import MAX_ID, created_at, format_id, id_ms
from chatsvc.core.message import MESSAGE
from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.storage.bodies import DecodedRecord
from chatsvc.storage.client_ids import minted_ahead_ms
from chatsvc.storage.ports.messages import Rejection

Document = dict[str, Any]

DOCUMENT_VERSION: Final = 1
MAX_DOCUMENT_BYTES: Final = 15 * 1024 * 1024
"""MongoDB takes 16 MiB; a conversation holds its last message and its lists beside it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DEPTH: Final = 60
"""MongoDB nests up to 100 levels, counted from a conversation's document."""

_MEMBERS: Final = frozenset(
    {"type", "id", "created_at", "channel", "sender", "content", "participants"}
)
_OPTIONAL: Final = frozenset({"client_id", "metadata"})


class Encoded(NamedTuple):
    """A record and its document, in BSON."""

    record: Record
    participants: list[str]
    document: RawBSONDocument


def encode(decoded: DecodedRecord) -> Encoded | Rejection:
    """The BSON of a record, or why there is none (``unfit``, ``too_large``)."""
    record, body = decoded
    try:
        raw = bson.encode(to_document(record, body))
    except (BSONError, OverflowError, UnicodeError) as exc:
        return Rejection(record, "unfit", f"BSON cannot hold it: {type(exc).__name__}")
    if len(raw) > MAX_DOCUMENT_BYTES:
        reason = f"{len(raw)} bytes as a document; the bound is {MAX_DOCUMENT_BYTES}"
        return Rejection(record, "too_large", reason)
    return Encoded(record, body["participants"], RawBSONDocument(raw))


def to_document(record: Record, body: dict[str, Any]) -> Document:
    """The document of a record whose JSON is ``body``."""
    position = format_id(record.id)
    document: Document = {
        "_id": position,
        "v": DOCUMENT_VERSION,
        "rev": position,
        "channel": record.channel,
        "participants": body["participants"],
        "audience": list(record.audience),
        "sender": record.sender,
        "origin": record.origin,
        "content": body.get("content"),
        "created_at": _EPOCH + timedelta(milliseconds=id_ms(record.id)),
        "digest": record.digest,
    }
    if record.client_id is not None:
        document["client_id"] = record.client_id
        ahead = minted_ahead_ms(record)
        if ahead is not None:
            document["minted_ahead_ms"] = ahead
    metadata = body.get("metadata")
    if metadata is not None and _carried(metadata):
        document["metadata"] = metadata
    if not _fields_express_body(record, body, document):
        document["body"] = record.body.decode()
        if not isinstance(document["content"], str):
            del document["content"]
    return document


def to_entry(document: Document) -> Entry:
    """The entry that a document holds.

    Raises:
        VersionTooNew: the document was written by a newer program.
    """
    return Entry(
        id=int(document["_id"], 16),
        rev=int(document["rev"], 16),
        channel=document["channel"],
        sender=document["sender"],
        origin=document["origin"],
        audience=tuple(document["audience"]),
        body=to_body(document),
    )


def to_body(document: Document) -> bytes:
    """The JSON of a message, equal as a value to what was sent.

    Raises:
        VersionTooNew: the document was written by a newer program.
    """
    if document["v"] > DOCUMENT_VERSION:
        raise VersionTooNew(
            f"message {document['_id']} has version {document['v']}; "
            f"this program knows up to {DOCUMENT_VERSION}"
        )
    if "body" in document:
        return str(document["body"]).encode()
    body: Document = {
        "type": MESSAGE.name,
        "id": document["_id"],
        "created_at": created_at(int(document["_id"], 16)),
        "channel": document["channel"],
        "sender": document["sender"],
        "content": document["content"],
        "participants": document["participants"],
    }
    for name in ("client_id", "metadata"):
        if name in document:
            body[name] = document[name]
    return _encode_json(body)


def to_conversation(document: Document) -> Conversation:
    """From a document of the conversations' collection."""
    return Conversation(
        channel=document["_id"],
        participants=tuple(document["participants"]),
        last_id=int(document["last_id"], 16),
        last_message=to_body(document["last_message"]),
    )


def id_range(bounds: Bounds) -> Document:
    """The exclusive bounds, as a condition on a field that holds ids."""
    return {
        "$gt": format_id(max(bounds.after, 0)),
        "$lt": format_id(min(max(bounds.before, 0), MAX_ID)),
    }


def _int64(value: object) -> int:
    # The driver's integers of 64 bits are of a class of their own.
    if isinstance(value, Int64):
        return int(value)
    # A ``TypeError`` is what other documents that are not chatsvc's end in, and are passed over.
    raise TypeError(f"not a JSON value: {type(value).__name__}")


_encode_json = msgspec.json.Encoder(enc_hook=_int64).encode


def _fields_express_body(record: Record, body: dict[str, Any], document: Document) -> bool:
    names = body.keys()
    return (
        names >= _MEMBERS
        and names <= _MEMBERS | _OPTIONAL
        and body["type"] == MESSAGE.name
        and body["id"] == document["_id"]
        and body["created_at"] == created_at(record.id)
        and body["channel"] == record.channel
        and body["sender"] == record.sender
        and isinstance(body["content"], str)
        and body.get("client_id") == record.client_id
        and ("client_id" in body) == ("client_id" in document)
        and ("metadata" in body) == ("metadata" in document)
    )


def _carried(value: object, depth: int = 1) -> bool:
    """Whether BSON gives back the very same JSON value.

    Keys that are empty, hold a dot or a NUL, or begin with a dollar sign are MongoDB's
    own or are refused by some of its versions; integers have 64 bits, signed.
    """
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, dict):
        return all(
            name and name[0] != "$" and "." not in name and "\0" not in name for name in value
        ) and all(_carried(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return all(_carried(item, depth + 1) for item in value)
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return True
