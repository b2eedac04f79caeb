"""Many writes in one call, of which some may find their place taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.errors import DUPLICATE_KEY, cause_of, unavailable


class Update(NamedTuple):
    """A change of one document, which is made where ``upsert`` says so and it is not there."""

    query: Document
    change: Document
    upsert: bool = True


async def update_all(
    connection: MongoConnection, collection: Collection, updates: Iterable[Update]
) -> None:
    """Make or move on documents; a query that holds for none of them any more changes nothing.

    Raises:
        StoreUnavailable: MongoDB does not answer, or did not take them.
    """
    wanted = list(updates)
    if not wanted:
        return
    taken = await bulk(connection, collection, [_update(one, upsert=one.upsert) for one in wanted])
    if taken:
        # Either what the query asks for is over, or another writer made the document in
        # between: once it exists, the same update without upsert tells them apart.
        again = [_update(wanted[index], upsert=False) for index in taken]
        await connection.write(lambda: collection.bulk_write(again, ordered=False))


async def bulk(connection: MongoConnection, collection: Collection, wanted: list[Any]) -> list[int]:
    """Do all that can be done; return the indexes of those whose key was there already.

    Raises:
        StoreUnavailable: MongoDB does not answer, or refused one for anything else.
    """
    try:
        await connection.attempt(lambda: collection.bulk_write(wanted, ordered=False))
    except BulkWriteError as exc:
        details = exc.details or {}
        errors = details.get("writeErrors", ())
        if details.get("writeConcernErrors") or any(
            error.get("code") != DUPLICATE_KEY for error in errors
        ):
            raise unavailable(exc) from None
        return [error["index"] for error in errors]
    except PyMongoError as exc:
        raise unavailable(exc) from cause_of(exc)
    return []


def _update(one: Update, *, upsert: bool) -> UpdateOne:
    return UpdateOne(one.query, one.change, upsert=upsert, collation=SIMPLE)
