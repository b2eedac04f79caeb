"""A log in the test's own folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chatsvc.log.local.log import LocalLog

Open = Callable[..., Awaitable[LocalLog]]


@pytest.fixture
async def open_log(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the log in this test's folder; closes what the test has left open."""
    logs: list[LocalLog] = []

    async def open_one(**options: Any) -> LocalLog:
        values: dict[str, Any] = {
            "recent_bytes": 1 << 20,
            "backlog_bytes": 1 << 30,
            "idempotency_ms": 600_000,
            "idempotency_keys": 1000,
            "retention_ms": 3_600_000,
        }
        log = await LocalLog.open(tmp_path, **(values | options))
        logs.append(log)
        return log

    yield open_one
    for log in logs:
        await log.close()
