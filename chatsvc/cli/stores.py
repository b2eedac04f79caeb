"""The store that the settings name, for commands that may run beside the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatsvc.core.errors import ConfigurationError
from chatsvc.core.projection import Projections
from chatsvc.settings.table import Settings
from chatsvc.storage.ports.message_store import MessageStore


@asynccontextmanager
async def existing_store(
    settings: Settings, projections: Projections | None = None
) -> AsyncIterator[MessageStore]:
    """Open the store, and close it at the end; such a command must not create one.

    Args:
        settings: the settings.
        projections: whose rows it keeps; ``None``: those of every feature.

    Raises:
        ConfigurationError: there is none.
        StoreUnavailable: it does not answer.
    """
    from chatsvc.app.backends import open_store

    store = open_store(settings, projections=projections)
    try:
        if (await store.versions()).found == 0:
            raise ConfigurationError(_no_store(settings))
        await store.open()
        yield store
    finally:
        await store.close()


def _no_store(settings: Settings) -> str:
    if settings.chosen_store == "sqlite":
        return f"DATA_DIR: there is no store in {settings.data_path}"
    return f"MONGO_DB: there is no store in the database {settings.mongo_db}"
