"""The version of the embedded store's file, and older ones brought to that of this program."""

from __future__ import annotations

import secrets
import sqlite3
from typing import Final

import structlog

from chatsvc.core.errors import ConfigurationError, version_too_new
from chatsvc.storage import store_versions
from chatsvc.storage.sqlite import from_version_1, from_version_2, tables
from chatsvc.storage.sqlite.statements import transaction
from chatsvc.storage.sqlite.tables import VERSION

LOGGED_EVERY: Final = 100_000
"""Messages of a long upgrade between two lines of the log."""
_UPGRADE_CACHE_KIB: Final = 64 * 1024
"""For the pages that a transaction changes; with SQLite's 2 MiB many are written twice."""

_logger = structlog.get_logger("chatsvc.store")


def found_version(db: sqlite3.Connection) -> int:
    """The version of the tables in the file, 0 if there are none.

    A file that is partly upgraded is of the version before.
    """
    if not tables.has_table(db, "meta"):
        return 0
    row = db.execute("SELECT value FROM meta WHERE name='version'").fetchone()
    found = int(row[0]) if row else 0
    return VERSION - 1 if found == VERSION and from_version_2.is_unfinished(db) else found


def check_version(db: sqlite3.Connection) -> int:
    """The version that is found, where it is one that the service may open.

    Raises:
        VersionTooNew: the file was written by a newer program.
        ConfigurationError: it must be upgraded by ``chatsvc migrate``, or was written by a
            program that was never released.
    """
    found = _supported_version(db)
    if found in (0, VERSION):
        return found
    if from_version_2.is_unfinished(db):
        raise ConfigurationError(
            f"the store is partly upgraded to version {VERSION}: it must be upgraded to its end, "
            "with `chatsvc migrate`, before it is used"
        )
    bound = (store_versions.UPGRADED_AT_OPEN,)
    if db.execute("SELECT 1 FROM messages LIMIT 1 OFFSET ?", bound).fetchone() is not None:
        raise store_versions.must_be_migrated(found, VERSION)
    return found


def bring_up(db: sqlite3.Connection, *, upgrades: bool = False) -> None:
    """Make the tables, or upgrade older ones.

    A file of this version from before its release gets the tables that it lacks.

    In one transaction where the store is small. A large one is upgraded in many, and an upgrade
    that was ended halfway goes on where it was.

    Args:
        upgrades: whether a store of any size is upgraded.

    Raises:
        VersionTooNew: the file was written by a newer program; it is not touched.
        ConfigurationError: as :func:`check_version`; it is not touched.
    """
    if upgrades:
        _upgrade(db)
    elif check_version(db) != VERSION:
        with transaction(db):
            # Looked at again under the lock: another process may have been first.
            if check_version(db) != VERSION:
                while found_version(db) != VERSION:
                    _step(db)
    if tables.lacks_requests(db):
        with transaction(db):
            if tables.lacks_requests(db):
                tables.make_requests(db)


def _upgrade(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA cache_size = -{_UPGRADE_CACHE_KIB}")
    moved = logged = 0
    while _supported_version(db) != VERSION:
        with transaction(db):
            moved += _step(db)
        if moved >= logged + LOGGED_EVERY:
            logged = moved
            _logger.info("store_partly_upgraded", messages=moved)


def _step(db: sqlite3.Connection) -> int:
    """A part of the way to this version, if there is one left; how many messages were moved."""
    found = _supported_version(db)
    if found == VERSION:
        return 0
    if from_version_2.is_unfinished(db):
        return from_version_2.move_some(db)
    if found == 0:
        db.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        tables.make_all(db)
    else:
        if found == 1:
            from_version_1.upgrade(db)
        from_version_2.begin(db)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (str(VERSION),))
    db.execute("INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (secrets.token_hex(16),))
    return 0


def _supported_version(db: sqlite3.Connection) -> int:
    found = found_version(db)
    if found > VERSION:
        raise version_too_new("the store", found, VERSION)
    if tables.is_before_release(db):
        raise ConfigurationError(
            "the store was written by a program between two releases, before groups were kept: "
            "its file must be removed, and the log then stores what it still has"
        )
    return found
