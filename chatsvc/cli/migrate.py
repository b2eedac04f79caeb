"""``chatsvc migrate``: upgrade the log and the store to the versions of this program."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from chatsvc import logs
from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import add_data, add_store, print_line, settings_from, warn_of_near_misses
from chatsvc.core.errors import version_too_new
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.lock import DataDirLock
from chatsvc.log.local.versions import log_versions
from chatsvc.settings.table import Settings


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_data(parser)
    add_store(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="only show what has to be upgraded; exit status 1 if anything",
    )
    parser.set_defaults(run=migrate)


def migrate(arguments: argparse.Namespace) -> int:
    """Upgrade what is older. With ``--check`` change nothing.

    The service must be stopped, except with ``--check``.

    Returns:
        1 with ``--check`` if anything is older, otherwise 0.
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
    from chatsvc.app.backends import open_store

    log_is_old = _report("log", *log_versions(_log_path(settings)))
    store = open_store(settings)
    try:
        store_is_old = _report("store", *await store.versions())
    finally:
        await store.close()
    return 1 if log_is_old or store_is_old else 0


async def _migrate(settings: Settings) -> int:
    from chatsvc.app.backends import open_store

    path = _log_path(settings)
    # The service creates a missing log at its first start.
    if _report("log", *log_versions(path)):
        await asyncio.to_thread(lambda: LogFile(path).close())
        _report("log", *log_versions(path))
    store = open_store(settings, upgrades=True)
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
    """Print the version; return whether it is older than what this program writes."""
    if found > current:
        raise version_too_new(f"the {what}", found, current)
    if found == 0:
        print_line(f"{what}: there is none yet; version {current} will be created")
    elif found < current:
        print_line(f"{what}: version {found}, to be upgraded to {current}")
    else:
        print_line(f"{what}: version {found}, up to date")
    return 0 < found < current
