"""The embedded store: one SQLite file, for a chat backend without a database."""

from __future__ import annotations

from pathlib import Path

from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.sqlite.client_ids import SqliteClientIds
from chatsvc.storage.sqlite.connection import HISTORY_READERS, OPEN_SECONDS
from chatsvc.storage.sqlite.conversations import SqliteConversations
from chatsvc.storage.sqlite.dead_letters import SqliteDeadLetters
from chatsvc.storage.sqlite.messages import SqliteMessages
from chatsvc.storage.sqlite.watermark import SqliteWatermark
from chatsvc.storage.sqlite.writes import SqliteWrites


class SqliteStore(
    SqliteWrites,
    SqliteMessages,
    SqliteConversations,
    SqliteClientIds,
    SqliteWatermark,
    MessageStore,
):
    """A :class:`~chatsvc.storage.ports.message_store.MessageStore` in one file.

    The arguments are those of :class:`~chatsvc.storage.sqlite.connection.SqliteFile`.
    """

    reads_at_once = HISTORY_READERS

    def __init__(
        self, path: Path, *, busy_seconds: float = 2.0, open_seconds: float = OPEN_SECONDS
    ) -> None:
        super().__init__(path, busy_seconds=busy_seconds, open_seconds=open_seconds)
        self.dead_letters = SqliteDeadLetters(self._writer, self._reader)
