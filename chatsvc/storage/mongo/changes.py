"""Changes as MongoDB documents: every record that is no message, in a collection of its own.

``id`` is the record's. A document's ``_id`` is the same, or, of a kind that is ``latest``, what it
is about: its channel, kind and target, as a JSON array. So there is one document for each, the
newest replaces an older one in one step, and an older one that comes later finds the place taken.
As with messages, ``audience`` is there for small sets, and where a record of a group names people.
"""

from __future__ import annotations

from typing import Final

import msgspec

from chatsvc.core.errors import VersionTooNew
from chatsvc.core.ids import format_id
from chatsvc.core.page import Entry
from chatsvc.core.record import Record
from chatsvc.storage.mongo.documents import (
    Document,
    Encoded,
    PeopleOf,
    body_fields,
    common_fields,
    encode_document,
    kept_body,
    people_of,
)
from chatsvc.storage.ports.messages import Rejection

CHANGE_VERSION: Final = 1


def encode_change(record: Record, *, latest: bool) -> Encoded | Rejection:
    """The BSON of a change, or why there is none (``unfit``, ``too_large``)."""
    document = to_change(record, latest=latest)
    return encode_document(record, document, document["_id"] if latest else None)


def to_change(record: Record, *, latest: bool) -> Document:
    """The document of a record that is no message."""
    position = format_id(record.id)
    return {
        "_id": _about(record) if latest else position,
        "v": CHANGE_VERSION,
        "id": position,
        "kind": record.kind,
        "target": record.target,
        **common_fields(record),
        **body_fields(record),
    }


def change_entry(document: Document, known: PeopleOf) -> Entry | None:
    """The entry that a change's document holds.

    ``None`` as in :func:`~chatsvc.storage.mongo.documents.people_of`.

    Raises:
        VersionTooNew: the document was written by a newer program.
    """
    if document["v"] > CHANGE_VERSION:
        raise VersionTooNew(
            f"change {document['id']} has version {document['v']}; "
            f"this program knows up to {CHANGE_VERSION}"
        )
    people = people_of(document, known)
    if people is None:
        return None
    return Entry(
        id=int(document["id"], 16),
        rev=int(document["id"], 16),
        channel=document["channel"],
        sender=document["sender"],
        origin=document["origin"],
        audience=tuple(document.get("audience", people)),
        body=kept_body(document, people),
        kind=document["kind"],
    )


def _about(record: Record) -> str:
    return msgspec.json.encode([record.channel, record.kind, record.target]).decode()
