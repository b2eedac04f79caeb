"""What is wrong with one row of state is not the fault of what others append."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatsvc.core.errors import LogUnavailable
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.verify import verify
from testkit.drafts import draft
from testkit.group_drafts import GROUP, joining
from tests.contract.log_suite import EMPTY


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[LocalLog]:
    log = await LocalLog.open(
        tmp_path,
        recent_bytes=1 << 20,
        backlog_bytes=1 << 30,
        idempotency_ms=600_000,
        idempotency_keys=1000,
        retention_ms=600_000,
        store=EMPTY,
    )
    yield log
    await log.close()


async def test_a_damaged_row_refuses_who_changes_it_and_nobody_else(
    log: LocalLog, tmp_path: Path
) -> None:
    await log.append(joining("alice"))
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("UPDATE channels SET crc = crc + 1")
    db.close()
    appends = [log.append(draft("x")), log.append(joining("bob")), log.append(draft("y"))]
    first, refused, second = await asyncio.gather(*appends, return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert not isinstance(second, BaseException)
    assert isinstance(refused, LogUnavailable)
    assert (str(refused), refused.retry_after) == ("the log's state is damaged", 60.0)
    assert (await log.append(joining("bob", channel=",g:other"))).id > second.id


@pytest.mark.parametrize("table", ["members", "channels"])
async def test_a_row_whose_data_is_said_to_be_text_goes_by_its_checksum(
    log: LocalLog, tmp_path: Path, table: str
) -> None:
    """One bit of a row says which type a column has; sqlite3 decodes text, or raises."""
    await log.append(joining("alice"))
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute(f"UPDATE {table} SET data = CAST(data AS TEXT)")
    db.close()
    await log.append(joining("bob"))
    assert [one.user for one in log.state.members_page(GROUP, (0, ""), 5).members] == [
        "alice",
        "bob",
    ]
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute(f"UPDATE {table} SET data = 'changed'")
    db.close()
    with pytest.raises(LogUnavailable, match="damaged"):
        await log.append(joining("carol", "alice"))
    assert any(table in one for one in verify(tmp_path / "log.db").state)
