"""The MongoDB store."""

from __future__ import annotations

from chatsvc.core.kinds import Kinds
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.projection import NO_PROJECTIONS, Projections
from chatsvc.storage.mongo.client_ids import MongoClientIds
from chatsvc.storage.mongo.connection import READS_AT_ONCE
from chatsvc.storage.mongo.conversations import MongoConversations
from chatsvc.storage.mongo.dead_letters import MongoDeadLetters
from chatsvc.storage.mongo.membership import MongoMembership
from chatsvc.storage.mongo.projections import MongoProjections
from chatsvc.storage.mongo.purging import MongoPurging
from chatsvc.storage.mongo.scanning import MongoScan
from chatsvc.storage.mongo.watermark import MongoWatermark
from chatsvc.storage.mongo.writes import MongoWrites
from chatsvc.storage.ports.message_store import MessageStore


class MongoStore(
    MongoWrites,
    MongoPurging,
    MongoScan,
    MongoConversations,
    MongoClientIds,
    MongoMembership,
    MongoWatermark,
    MessageStore,
):
    """A :class:`~chatsvc.storage.ports.message_store.MessageStore` in MongoDB.

    Args:
        projections: whose rows it keeps.

    The other arguments are those of :class:`~chatsvc.storage.mongo.database.MongoDatabase`.
    """

    reads_at_once = READS_AT_ONCE

    def __init__(
        self,
        uri: str,
        db: str,
        collection: str,
        *,
        read_seconds: float = 4.0,
        write_seconds: float = 20.0,
        selection_seconds: float = 2.0,
        upgrades: bool = False,
        kinds: Kinds = MESSAGES_ONLY,
        projections: Projections = NO_PROJECTIONS,
    ) -> None:
        super().__init__(
            uri,
            db,
            collection,
            read_seconds=read_seconds,
            write_seconds=write_seconds,
            selection_seconds=selection_seconds,
            upgrades=upgrades,
            kinds=kinds,
        )
        self.dead_letters = MongoDeadLetters(self._connection, self._names)
        self._projection_writes = MongoProjections(self._connection, self._names, projections)
        self.projections = self._projection_writes

    async def open(self) -> None:
        await super().open()
        await self._projection_writes.open()
