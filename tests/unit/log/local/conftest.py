"""Files of the local log, in the test's own folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatsvc.log.local.file import LogFile
from testkit.drafts import record
from tests.unit.support.log_rows import row


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "empty.db")
    yield made
    made.abandon()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    """Five records, 10 to 50, of which the text grows; a module may have a ``file`` of its own."""
    made = LogFile(tmp_path / "log.db")
    made.insert([row(record(at, "x" * at)) for at in (10, 20, 30, 40, 50)])
    yield made
    made.abandon()
