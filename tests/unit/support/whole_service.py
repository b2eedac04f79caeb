"""A service in this process, and what one may leave behind in it."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

from chatsvc.settings.table import Settings, load

SECRET = "a-secret-for-tests-only-32-bytes"


def settings(folder: Path, **more: str) -> Settings:
    values = {"DATA_DIR": str(folder), "JWT_SECRET": SECRET, "PORT": "0", "LOG_LEVEL": "error"}
    return load(values | more)


def names_of_tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()} - {"Task-1"}


def listens(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5).close()
    except ConnectionRefusedError:
        return False
    return True


class Left:
    """What was not there when this was made: threads of the service, and files of its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._before = set(threading.enumerate())

    def threads(self) -> list[str]:
        own = set(threading.enumerate()) - self._before
        return sorted(one.name for one in own if one.name.startswith(("chatsvc", "store")))

    def files(self) -> list[str]:
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{name}")
            except OSError:
                continue  # it was the descriptor of the listing
            if target.startswith(self._folder):
                found.append(target)
        return found

    def nothing(self) -> bool:
        return not self.threads() and not self.files()
