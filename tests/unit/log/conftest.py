"""A log in the test's own folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatsvc.log.local.log import LocalLog
from tests.unit.support.local_logs import Open


@pytest.fixture
async def open_log(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens a log, in this test's folder unless another is named; closes what is left open."""
    logs: list[LocalLog] = []

    async def open_one(folder: Path = tmp_path, **options: Any) -> LocalLog:
        values: dict[str, Any] = {
            "recent_bytes": 1 << 20,
            "backlog_bytes": 1 << 30,
            "idempotency_ms": 600_000,
            "idempotency_keys": 1000,
            "retention_ms": 3_600_000,
        }
        log = await LocalLog.open(folder, **(values | options))
        logs.append(log)
        return log

    yield open_one
    for log in logs:
        await log.close()
