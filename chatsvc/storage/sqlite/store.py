"""The embedded store: one SQLite file, for a chat backend without a database."""

from __future__ import annotations

from pathlib import Path

from chatsvc.core.kinds import Kinds
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.projection import NO_PROJECTIONS, Projections
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.sqlite.client_ids import SqliteClientIds
from chatsvc.storage.sqlite.connection import HISTORY_READERS, OPEN_SECONDS
from chatsvc.storage.sqlite.dead_letters import SqliteDeadLetters
from chatsvc.storage.sqlite.listing import SqliteListing
from chatsvc.storage.sqlite.membership import SqliteMembership
from chatsvc.storage.sqlite.messages import SqliteMessages
from chatsvc.storage.sqlite.projections import ProjectionWrites, SqliteProjections
from chatsvc.storage.sqlite.purging import SqlitePurging
from chatsvc.storage.sqlite.records import SqliteRecords
from chatsvc.storage.sqlite.scanning import SqliteScan
from chatsvc.storage.sqlite.watermark import SqliteWatermark
from chatsvc.storage.sqlite.writes import SqliteWrites


class SqliteStore(
    SqliteWrites,
    SqlitePurging,
    SqliteMessages,
    SqliteRecords,
    SqliteScan,
    SqliteListing,
    SqliteClientIds,
    SqliteMembership,
    SqliteWatermark,
    MessageStore,
):
    """A :class:`~chatsvc.storage.ports.message_store.MessageStore` in one file.

    Args:
        kinds: those that it stores.
        projections: whose rows it keeps.

    The other arguments are those of :class:`~chatsvc.storage.sqlite.connection.SqliteFile`.
    """

    reads_at_once = HISTORY_READERS

    def __init__(
        self,
        path: Path,
        *,
        kinds: Kinds = MESSAGES_ONLY,
        projections: Projections = NO_PROJECTIONS,
        busy_seconds: float = 2.0,
        open_seconds: float = OPEN_SECONDS,
        upgrades: bool = False,
    ) -> None:
        super().__init__(
            path, busy_seconds=busy_seconds, open_seconds=open_seconds, upgrades=upgrades
        )
        self._kinds = kinds
        self.dead_letters = SqliteDeadLetters(self._writer, self._reader)
        self._projection_writes = ProjectionWrites(projections)
        self.projections = SqliteProjections(self._writer, self._history, self._projection_writes)

    async def open(self) -> None:
        await super().open()
        await self._writer.run(self._projection_writes.make)
