"""The backends that the settings name: the store and the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from chatsvc.app.features import known_kinds, known_projections
from chatsvc.core.errors import ChatError, StoreUnavailable
from chatsvc.core.projection import Projections
from chatsvc.log.base import MessageLog
from chatsvc.log.local.log import LocalLog
from chatsvc.log.reconcile import StoreState
from chatsvc.settings.table import Settings
from chatsvc.storage.past import learn_past
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.store_state import state_of

STORE_START_SECONDS: Final = 5.0
"""How long a start waits for the store; after that messages wait in the log."""

_logger = structlog.get_logger("chatsvc")


def open_store(
    settings: Settings, *, upgrades: bool = False, projections: Projections | None = None
) -> MessageStore:
    """Return the store that the settings name, not opened yet. It takes every known kind.

    Args:
        settings: the settings.
        upgrades: whether opening it upgrades a store of any size, for as long as it takes.
        projections: whose rows it keeps; ``None``: those of every feature.

    Raises:
        ConfigurationError: the MongoDB URI cannot be used.
    """
    kept = known_projections() if projections is None else projections
    if settings.chosen_store == "mongodb":
        from chatsvc.storage.mongo.store import MongoStore  # a quarter of a second to import

        return MongoStore(
            settings.mongo_uri,
            settings.mongo_db,
            settings.mongo_collection,
            upgrades=upgrades,
            kinds=known_kinds(),
            projections=kept,
        )
    path = settings.data_path / "store.db"
    return SqliteStore(path, kinds=known_kinds(), projections=kept, upgrades=upgrades)


async def check_store_version(settings: Settings) -> None:
    """Check that a start would take the store's version, where that is known without opening it.

    Raises:
        ConfigurationError, VersionTooNew: as opening it.
    """
    if settings.chosen_store == "sqlite":
        await SqliteStore(settings.data_path / "store.db").check_version()


async def read_store_state(
    store: MessageStore, *, answered: Callable[[], None]
) -> StoreState | None:
    """Return what the store holds, or ``None`` where it does not answer in time.

    Args:
        answered: called once it has answered.

    Raises:
        ChatError: the store is not one that this program may use.
    """
    try:
        async with asyncio.timeout(STORE_START_SECONDS):
            await store.open()
            found = await state_of(store)
            answered()
            return found
    except (StoreUnavailable, TimeoutError) as exc:
        # The start does not need the store: messages wait in the log.
        _logger.warning("store_unavailable_at_start", error=str(exc) or "no answer")
    except ChatError:
        raise
    except Exception:  # an error of the store must not prevent that sends are accepted
        _logger.exception("store_failed_at_start")
    return None


async def open_log(
    settings: Settings,
    found: StoreState | None,
    *,
    observe: Callable[[int, float], None],
) -> MessageLog:
    """Open the log in ``DATA_DIR``.

    Args:
        found: what the store holds; ``None``: not known yet.
        observe: called for each commit with its records and seconds.

    Raises:
        LogDamaged, VersionTooNew, ConfigurationError: it cannot be used.
    """
    return await LocalLog.open(
        settings.data_path,
        recent_bytes=settings.recent_bytes,
        backlog_bytes=settings.backlog_bytes,
        idempotency_ms=settings.idempotency_seconds * 1000,
        idempotency_keys=settings.idempotency_max_keys,
        idempotency_keys_per_sender=settings.idempotency_keys_per_sender,
        retention_ms=settings.log_retention_seconds * 1000,
        min_free_bytes=settings.min_free_bytes,
        store=found,
        new_conversations=settings.max_new_conversations_per_hour,
        observe=observe,
    )


async def ask_past(log: MessageLog, store: MessageStore) -> None:
    """Tell a log what its store knows of the past; one that does not answer is asked later."""
    try:
        async with asyncio.timeout(STORE_START_SECONDS):
            await learn_past(log, store)
    except (StoreUnavailable, TimeoutError) as exc:
        _logger.warning("store_past_unknown", error=str(exc) or "no answer")
