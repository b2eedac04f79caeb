"""A service in this process: what a start acquires is given back, in whatever way it ends."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import aiohttp
import pytest

from chatsvc.app import lifecycle
from chatsvc.app.lifecycle import Service
from chatsvc.core.errors import ConfigurationError
from chatsvc.features.messages.service import AllowAll
from chatsvc.log.local.lock import DataDirLock
from tests.unit.support.whole_service import names_of_tasks, settings


async def test_a_service_starts_and_stops_and_can_be_started_again(tmp_path: Path) -> None:
    before = names_of_tasks()
    collecting = gc.get_threshold()
    for _ in range(2):
        service = Service(settings(tmp_path), AllowAll())
        running = await service.start()
        assert gc.get_threshold() == collecting  # tuning is the process's business
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{running.url}/health/ready") as answer,
        ):
            assert answer.status == 200
        await service.stop()
        await service.stop()
        assert {"persister", "store probe", "socket monitor"} & names_of_tasks() == set()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), 5)
    assert names_of_tasks() <= before


async def test_a_start_that_fails_late_gives_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise ConfigurationError("PORT: it cannot be listened on")

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "accept_on", fails)
        service = Service(settings(tmp_path), AllowAll())
        with pytest.raises(ConfigurationError):
            await service.start()
    assert {"persister", "store probe", "socket monitor"} & names_of_tasks() == set()
    lock = DataDirLock(tmp_path)
    lock.acquire()
    lock.release()
    await service.stop()
    again = Service(settings(tmp_path), AllowAll())
    await again.start()
    await again.stop()
