"""``chatsvc migrate``: the log and the store in the form that this program writes."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from chatsvc import logs
from chatsvc.cli.options import say, settings_from, warn_of_near_misses
from chatsvc.core.errors import VersionTooNew
from chatsvc.log.file import LogFile
from chatsvc.log.lock import DataDirLock
from chatsvc.log.versions import log_versions
from chatsvc.settings import Settings


def migrate(arguments: argparse.Namespace) -> int:
    """Move forward what is older. With ``--check``: change nothing, 1 if anything is older.

    The service must be stopped, unless with ``--check``.
    """
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    logs.configure(settings)
    if arguments.check:
        return asyncio.run(_check(settings))
    lock = DataDirLock(settings.data_path)
    lock.acquire()
    try:
        return asyncio.run(_migrate(settings))
    finally:
        lock.release()


async def _check(settings: Settings) -> int:
    from chatsvc.app import open_store

    log_is_old = _report("log", *log_versions(_log_path(settings)))
    store = open_store(settings)
    try:
        store_is_old = _report("store", *await store.versions())
    finally:
        await store.close()
    return 1 if log_is_old or store_is_old else 0


async def _migrate(settings: Settings) -> int:
    from chatsvc.app import open_store

    path = _log_path(settings)
    # A log that is not there yet is made by the service, at its first start.
    if _report("log", *log_versions(path)):
        await asyncio.to_thread(lambda: LogFile(path).close())
        _report("log", *log_versions(path))
    store = open_store(settings)
    try:
        found, current = await store.versions()
        if _report("store", found, current) or found == 0:
            await store.open()
            _report("store", *await store.versions())
    finally:
        await store.close()
    return 0


def _log_path(settings: Settings) -> Path:
    return settings.data_path / "log.db"


def _report(what: str, found: int, current: int) -> bool:
    """Say how it stands; whether it is older than this program writes."""
    if found > current:
        raise VersionTooNew(
            f"the {what} has version {found}; this program knows up to {current}: run the version "
            "that wrote it, or a newer one"
        )
    if found == 0:
        say(f"{what}: there is none yet; version {current} will be made")
    elif found < current:
        say(f"{what}: version {found}, to be moved to {current}")
    else:
        say(f"{what}: version {found}, up to date")
    return 0 < found < current
