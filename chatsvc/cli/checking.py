"""Check what ``chatsvc serve`` would refuse, for ``chatsvc config --check``.

The port and the contents of the databases are not checked: other processes may use them, and
opening a database would change it.
"""

from __future__ import annotations

import asyncio

from chatsvc.auth.authentication import check_authentication
from chatsvc.core.errors import version_too_new
from chatsvc.log.local.lock import DataDirLock
from chatsvc.log.local.versions import log_versions
from chatsvc.settings.table import Settings


def check(settings: Settings) -> None:
    """Check the settings as ``serve`` does at its start.

    Leaves everything as it was (what it makes in DATA_DIR to see whether it can, it removes),
    connects to no other machine but a name server, and may run beside the service.

    Raises:
        ConfigurationError, VersionTooNew, LogDamaged: as ``serve``, with the same text.
    """
    from chatsvc.server.http.listener import check_host

    DataDirLock(settings.data_path).check()
    check_authentication(settings)
    check_host(settings)
    asyncio.run(_check_stores(settings))


async def _check_stores(settings: Settings) -> None:
    from chatsvc.app.backends import check_store_version, open_store

    path = settings.data_path / "log.db"
    found, current = log_versions(path)
    if found > current:
        raise version_too_new(str(path), found, current)
    await open_store(settings).close()
    await check_store_version(settings)
