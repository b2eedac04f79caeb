"""A MongoDB store of version 2, as the program of that version wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collation import Collation

from chatsvc.core.ids import format_id, id_ms
from chatsvc.core.record import Record

SIMPLE = Collation(locale="simple")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEY = [("sender", ASCENDING), ("channel", ASCENDING), ("client_id", ASCENDING), ("_id", ASCENDING)]
EXPRESSED = {"type", "id", "created_at", "channel", "sender", "content", "participants"}

Database = Any


def document(record: Record) -> dict[str, Any]:
    """Of a message whose metadata, where it has any, is nothing that BSON could not carry."""
    body = msgspec.json.decode(record.body)
    position = format_id(record.id)
    found: dict[str, Any] = {
        "_id": position,
        "v": 1,
        "rev": position,
        "channel": record.channel,
        "participants": body["participants"],
        "audience": list(record.audience),
        "sender": record.sender,
        "origin": record.origin,
        "content": body["content"],
        "created_at": EPOCH + timedelta(milliseconds=id_ms(record.id)),
        "digest": record.digest,
    }
    if record.client_id is not None:
        found["client_id"] = record.client_id
    if "metadata" in body:
        found["metadata"] = body["metadata"]
    if body.keys() - EXPRESSED - {"client_id", "metadata"}:
        found["body"] = record.body.decode()
    return found


def write(database: Database, records: Sequence[Record]) -> None:
    """As one batch after another, each message and then its conversation."""
    for record in records:
        message = document(record)
        database.messages.insert_one(message)
        conversation = {
            "participants": message["participants"],
            "audience": message["audience"],
            "last_id": message["_id"],
            "last_message": message,
        }
        database.messages_conversations.update_one(
            {"_id": record.channel}, {"$set": conversation}, upsert=True
        )


def make(database: Database, version: int = 2) -> None:
    """Its indexes and its own document."""
    database.messages.create_indexes(
        [
            IndexModel([("channel", ASCENDING), ("_id", ASCENDING)], name="channel_page",
                       collation=SIMPLE),
            IndexModel([("audience", ASCENDING), ("rev", ASCENDING)], name="user_page",
                       collation=SIMPLE),
            IndexModel(KEY, name="client_id", collation=SIMPLE,
                       partialFilterExpression={"client_id": {"$exists": True}}),
        ]
    )  # fmt: skip
    database.messages_conversations.create_indexes(
        [IndexModel([("audience", ASCENDING), ("last_id", DESCENDING)], name="user_conversations",
                    collation=SIMPLE)]
    )  # fmt: skip
    database.messages_meta.insert_one({"_id": "store", "v": version, "identity": "i" * 32})
