"""Documents of chatsvc among whatever else lies in a collection: one walk along an index each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
from pymongo import ASCENDING, DESCENDING

from chatsvc.core.page import Bounds
from chatsvc.storage.mongo.collections import is_our_id
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document, id_range
from chatsvc.storage.mongo.pages import Prepare, read_page

T = TypeVar("T")

_logger = structlog.get_logger("chatsvc.store")


def within(query: Document, by: str, between: Document) -> Document:
    """The condition, and that ids are between two.

    Of an ``$or`` in each of its parts, each of which is then a range of an index.
    """
    if "$or" not in query:
        return query | {by: between}
    return {"$or": [part | {by: part.get(by, {}) | between} for part in query["$or"]]}


class OwnDocuments:
    """Reads documents that have chatsvc's form; passes over others, and says so once.

    Args:
        connection: the store's.
        messages: the collection that is named then.
    """

    def __init__(self, connection: MongoConnection, messages: Collection) -> None:
        self._connection = connection
        self._messages = messages
        self._foreign_logged = False

    async def collect(
        self,
        collection: Collection,
        query: Document,
        by: str,
        bounds: Bounds,
        convert: Callable[[Document], T | None],
        size: Callable[[T], int],
        fields: Document | None = None,
        prepare: Prepare | None = None,
        index: str | None = None,
    ) -> list[T]:
        """Documents of chatsvc in the order asked for, as far as the bounds go.

        For each document that is not, one more is read, or the page would look like the last
        one. ``prepare`` is :func:`~chatsvc.storage.mongo.pages.read_page`'s, ``index`` the name of
        the one that must be used.
        """
        found: list[T] = []
        between = id_range(bounds)
        bytes_left = bounds.max_bytes
        while (wanted := bounds.limit - len(found)) > 0:  # to MongoDB, a limit of 0 is none
            seen: list[Document] = []

            def take(document: Document, seen: list[Document] = seen) -> T | None:
                seen.append({by: document[by]})
                return self.convert(document, convert)

            cursor = collection.find(
                within(query, by, between), fields, collation=SIMPLE, hint=index
            )
            ordered = cursor.sort(by, DESCENDING if bounds.newest else ASCENDING)
            bound = max(bytes_left, 0)
            part = await self._connection.read(
                partial(
                    read_page, ordered, take, size, limit=wanted, max_bytes=bound, prepare=prepare
                )
            )
            found.extend(part)
            bytes_left -= sum(map(size, part))
            if len(seen) < wanted or len(seen) == len(part) or (bytes_left < 0 and len(found) > 1):
                break
            between = between | {"$lt" if bounds.newest else "$gt": seen[-1][by]}
        return found

    def convert(self, document: Document, convert: Callable[[Document], T | None]) -> T | None:
        """The document as what it should be, or ``None`` where it is nothing of ours.

        Raises:
            VersionTooNew: it was written by a newer program.
        """
        try:
            return convert(document)
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            if not self._foreign_logged:
                self._foreign_logged = True
                found = document.get("_id")
                shown = found if is_our_id(found) else type(found).__name__
                _logger.warning(
                    "foreign_document_passed_over",
                    collection=self._messages.full_name,
                    id=shown,
                    error=type(exc).__name__,
                )
            return None
