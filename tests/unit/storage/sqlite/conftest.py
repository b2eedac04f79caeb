"""An embedded store in memory, without its threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from chatsvc.storage.sqlite.migrations import bring_up


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    bring_up(db)
    yield db
    db.close()
