"""Two clients of one MongoDB, and calls that are never cancelled.

Writes have a client, and so a pool, of their own: readers that wait for a slow server
do not hold up what is to be stored. A cancelled motor call keeps its thread until the
server answers, so calls are shielded and end by the driver's own time-outs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ReadPreference, WriteConcern
from pymongo.collation import Collation
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from chatsvc.core.errors import ConfigurationError, StoreUnavailable
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.errors import bad_uri, cause_of, unavailable

T = TypeVar("T")

Collection = AsyncIOMotorCollection[Document]

SIMPLE: Final = Collation(locale="simple")
"""How ids are compared: by their bytes. Named with each query and index, or a collection made
with another collation would take alice and Alice for one."""

# What a failover can take back is never read: it would be shown, and gone the next moment. What
# was written to the majority is there for such a read of the same primary at once.
_COMMITTED: Final = ReadConcern("majority")

# Motor runs all its calls on one pool of five threads a core; writes always find some.
_READS_AT_ONCE: Final = max(1, (os.cpu_count() or 1) * 5 - 4)
READS_AT_ONCE: Final = max(1, _READS_AT_ONCE - 1)
"""Reads of history at the same time: what the service itself asks finds a turn beside them."""


class MongoConnection:
    """See the module's text.

    Args:
        uri: ``mongodb://`` or ``mongodb+srv://``.
        db: the database.
        collection: whose name all others begin with.
        read_seconds: the most a read takes, its retries included.
        write_seconds: the most that one answer to a write takes.
        selection_seconds: the most that finding a server to talk to takes.

    Raises:
        ConfigurationError: one of these names cannot be used; says which variable.
    """

    def __init__(
        self, uri: str, db: str, collection: str, *, read_seconds: float, write_seconds: float,
        selection_seconds: float,
    ) -> None:  # fmt: skip
        self._db = db
        with ExitStack() as opened:  # a name that cannot be used leaves no client behind
            try:
                self._reader = _client(uri, read_seconds, selection_seconds, _READS_AT_ONCE)
                opened.callback(self._reader.close)
                self._writer = _client(uri, write_seconds, selection_seconds, 4, whole=False)
                opened.callback(self._writer.close)
            # OSError: a file of certificates that cannot be read.
            except (PyMongoError, ValueError, TypeError, OSError) as exc:
                raise bad_uri(uri, exc) from None
            try:
                self._reader.get_database(db)
            except PyMongoError as exc:
                raise ConfigurationError(f"MONGO_DB: cannot be used: {exc}") from None
            try:
                self._reader[db].get_collection(collection)
            except PyMongoError as exc:
                raise ConfigurationError(f"MONGO_COLLECTION: cannot be used: {exc}") from None
            opened.pop_all()
        # The server gives up first, so that it can still say why.
        patience = max(1, round(write_seconds * 800))
        self._majority = WriteConcern("majority", j=True, wtimeout=patience)
        self._reading = asyncio.Semaphore(_READS_AT_ONCE)
        self._failures = 0

    def to_read(self, name: str) -> Collection:
        """A collection for :meth:`read`: read concern ``majority``, from the primary.

        Whatever the URI says.
        """
        return self._reader[self._db].get_collection(
            name, read_preference=ReadPreference.PRIMARY, read_concern=_COMMITTED
        )

    def to_write(self, name: str) -> Collection:
        """A collection for :meth:`write`: majority and journaled, whatever the URI says."""
        return self._writer[self._db].get_collection(
            name,
            read_preference=ReadPreference.PRIMARY,
            read_concern=_COMMITTED,
            write_concern=self._majority,
        )

    async def read(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call on the readers' client; a bounded number goes on at once.

        Raises:
            StoreUnavailable: also, at once, for whoever was waiting for a turn while
                another call failed.
        """
        failures = self._failures
        await self._reading.acquire()
        if self._failures != failures:
            self._reading.release()
            raise StoreUnavailable("MongoDB does not answer")
        future = asyncio.ensure_future(call())
        future.add_done_callback(self._read_ended)
        try:
            return await asyncio.shield(future)
        except PyMongoError as exc:
            raise unavailable(exc) from cause_of(exc)

    def _read_ended(self, future: asyncio.Future[Any]) -> None:
        # Not when its caller goes: a cancelled call holds its thread until here.
        if not future.cancelled() and isinstance(future.exception(), PyMongoError):
            self._failures += 1
        self._reading.release()

    async def write(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call on the writers' client.

        Raises:
            StoreUnavailable: whatever the driver raised.
        """
        try:
            return await self.attempt(call)
        except PyMongoError as exc:
            raise unavailable(exc) from cause_of(exc)

    async def attempt(self, call: Callable[[], Awaitable[T]]) -> T:
        """As :meth:`write`, for who looks at the driver's error first."""
        future = asyncio.ensure_future(call())
        future.add_done_callback(_retrieve)
        return await asyncio.shield(future)

    async def ping(self) -> None:
        """Ask the server whether it answers.

        Raises:
            StoreUnavailable: no answer.
        """
        await self.read(lambda: self._reader[self._db].command("ping"))

    def close(self) -> None:
        """Idempotent."""
        self._reader.close()
        self._writer.close()


def _retrieve(future: asyncio.Future[Any]) -> None:
    # Its caller may have gone, with a stop: then its error is nobody's, and no fault.
    if not future.cancelled():
        future.exception()


def _client(
    uri: str, seconds: float, selection_seconds: float, pool: int, *, whole: bool = True
) -> AsyncIOMotorClient[dict[str, Any]]:
    """Make a client whose time limit is ``seconds``.

    With ``whole`` they bound a call with all that is in it, finding a server too, which may
    then take as long; otherwise each answer, and a server that is away is known sooner.
    """
    bound: dict[str, Any] = {"timeoutMS" if whole else "socketTimeoutMS": round(seconds * 1000)}
    return AsyncIOMotorClient(
        uri,
        appname="chatsvc",
        serverSelectionTimeoutMS=round(selection_seconds * 1000),
        connectTimeoutMS=round(selection_seconds * 1000),
        maxPoolSize=pool,
        tz_aware=True,
        **bound,
    )
