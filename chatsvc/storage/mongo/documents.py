"""Records as MongoDB documents, and back to the JSON that was sent.

A message's fields are the document's, for whoever reads the collection with tools of
their own. Where those fields alone would not give back the same JSON value (metadata
with keys or numbers that BSON cannot carry faithfully, members that this version does
not know), the document also holds the JSON itself, in ``body``, and that is what
history answers with.

The people of a small set (:mod:`chatsvc.core.audience`) stand in each of its documents, as
``audience``: at most four entries of an index, in the same write as the document, where entries
in a collection of their own would be as many documents with two index entries each. Those of a
large set stand in its conversation's document alone, and a body is composed with them when it is
read. Documents of version 1 have both lists, whoever they are for; what a large set had then was
taken out by the upgrade.

A record that several requests became (``Record.keys``) has their keys as ``requests``. In a
collection of their own they would be a hundred documents with three index entries each, written
before the record or after it; here they are a hundred entries of one index, in the same write. Only
such documents are in that index, so that it costs the others nothing.

A record of a group or a room (:mod:`chatsvc.core.membership`) has an ``audience`` only where it
names whom it is for, and otherwise its channel once more, as ``for_members``: an index finds what
is for all members and nothing else (``docs/decisions/0023``). Messages there name no participants.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import bson
import msgspec
from bson.errors import BSONError
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from chatsvc.core.audience import is_large
from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import VersionTooNew
from chatsvc.core.ids import MAX_ID, created_at, format_id, id_ms
from chatsvc.core.membership import is_member_channel
from chatsvc.core.message import MESSAGE
from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.storage.client_ids import minted_ahead_ms, requests_in
from chatsvc.storage.ports.messages import Rejection

Document = dict[str, Any]

People = tuple[str, ...]
PeopleOf = Mapping[str, People]
"""The participants of large sets, by channel."""

DOCUMENT_VERSION: Final = 2
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
    """A record and its document, in BSON.

    ``about`` is the document's ``_id`` where it is not the record's: there, the newest one wins.
    """

    record: Record
    document: RawBSONDocument
    about: str | None = None


def encode(record: Record, body: dict[str, Any]) -> Encoded | Rejection:
    """The BSON of a message, or why there is none (``unfit``, ``too_large``)."""
    return encode_document(record, to_document(record, body))


def encode_document(
    record: Record, document: Document, about: str | None = None
) -> Encoded | Rejection:
    """The BSON of a record's document, or why there is none (``unfit``, ``too_large``)."""
    try:
        raw = bson.encode(document)
    except (BSONError, OverflowError, UnicodeError) as exc:
        return Rejection(record, "unfit", f"BSON cannot hold it: {type(exc).__name__}")
    if len(raw) > MAX_DOCUMENT_BYTES:
        reason = f"{len(raw)} bytes as a document; the bound is {MAX_DOCUMENT_BYTES}"
        return Rejection(record, "too_large", reason)
    return Encoded(record, RawBSONDocument(raw), about)


def to_document(record: Record, body: dict[str, Any]) -> Document:
    """The document of a record whose JSON is ``body``."""
    position = format_id(record.id)
    document: Document = {
        "_id": position,
        "v": DOCUMENT_VERSION,
        "rev": position,
        **common_fields(record),
        "content": body.get("content"),
        "created_at": _EPOCH + timedelta(milliseconds=id_ms(record.id)),
    }
    metadata = body.get("metadata")
    if metadata is not None and _carried(metadata):
        document["metadata"] = metadata
    if not _fields_express_body(record, body, document):
        document |= body_fields(record)
        if not isinstance(document["content"], str):
            del document["content"]
    return document


def common_fields(record: Record) -> Document:
    """What the documents of messages and of changes have alike."""
    fields: Document = {
        "channel": record.channel,
        "sender": record.sender,
        "origin": record.origin,
        "digest": record.digest,
    }
    if has_audience(record):
        fields["audience"] = list(record.audience)
    elif is_member_channel(record.channel):
        fields["for_members"] = record.channel
    if record.client_id is not None:
        fields["client_id"] = record.client_id
        ahead = minted_ahead_ms(record)
        if ahead is not None:
            fields["minted_ahead_ms"] = ahead
    if record.keys:
        fields["requests"] = request_documents(record)
    return fields


def request_documents(record: Record) -> list[Document]:
    """The requests that became a record, in its document: one write, and they go with it."""
    return [
        {name: value for name, value in one._asdict().items() if value is not None}
        for one in requests_in(record)
    ]


def has_audience(record: Record) -> bool:
    """Whether the people of a record stand in its document, and an index finds it by them."""
    if is_member_channel(record.channel):
        return bool(record.audience)
    return not is_large(record.audience)


def body_fields(record: Record) -> Document:
    """The JSON of a record as it was sent; without the list of participants of a large set.

    That list is cut out, and ``participants_at`` says where: the same bytes put in there give
    back the same JSON.
    """
    if not has_audience(record):
        at = record.body.find(listed := _listed(record.audience))
        if at >= 0:
            rest = record.body[:at] + record.body[at + len(listed) :]
            return {"body": rest.decode(), "participants_at": at}
    return {"body": record.body.decode()}


def people_of(document: Document, known: PeopleOf) -> People | None:
    """The participants of a record's conversation; of a group or a room none.

    ``None`` where they are not known: the conversation was deleted in the meantime.
    """
    if is_member_channel(document["channel"]):
        return ()
    people = document.get("participants", document.get("audience"))
    return tuple(people) if people is not None else known.get(document["channel"])


def to_entry(document: Document, known: PeopleOf) -> Entry | None:
    """The entry that a message's document holds; ``None`` as in :func:`people_of`.

    Raises:
        VersionTooNew: the document was written by a newer program.
    """
    people = people_of(document, known)
    if people is None:
        return None
    return Entry(
        id=int(document["_id"], 16),
        rev=int(document["rev"], 16),
        channel=document["channel"],
        sender=document["sender"],
        origin=document["origin"],
        audience=tuple(document.get("audience", people)),
        body=to_body(document, people),
    )


def to_body(document: Document, people: People) -> bytes:
    """The JSON of a message to these people, equal as a value to what was sent.

    Raises:
        VersionTooNew: the document was written by a newer program.
    """
    if document["v"] > DOCUMENT_VERSION:
        raise VersionTooNew(
            f"message {document['_id']} has version {document['v']}; "
            f"this program knows up to {DOCUMENT_VERSION}"
        )
    if "body" in document:
        return kept_body(document, people)
    body: Document = {
        "type": MESSAGE.name,
        "id": document["_id"],
        "created_at": created_at(int(document["_id"], 16)),
        "channel": document["channel"],
        "sender": document["sender"],
        "content": document["content"],
        "participants": people,
    }
    for name in ("client_id", "metadata"):
        if name in document:
            body[name] = document[name]
    return _encode_json(body)


def kept_body(document: Document, people: People) -> bytes:
    """The JSON that was kept as it was sent (:func:`body_fields`)."""
    body = str(document["body"]).encode()
    at = document.get("participants_at")
    return body if at is None else body[:at] + _listed(people) + body[at:]


def to_conversation(document: Document) -> Conversation:
    """From a document of the conversations' collection."""
    people = tuple(document["participants"])
    return Conversation(
        channel=document["_id"],
        participants=people,
        last_id=int(document["last_id"], 16),
        last_message=to_body(document["last_message"], people),
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


def _listed(people: People) -> bytes:
    """The member of a message's JSON that lists its participants, and the comma before it."""
    return b',"participants":' + _encode_json(people)


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
        and not (is_member_channel(record.channel) and body["participants"])
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
