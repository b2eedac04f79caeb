"""A store in MongoDB, what else has its database open, and a process that dies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chatsvc.storage.mongo.store import MongoStore
from testkit import mongod
from testkit.records import KINDS
from tests.contract.support.mongo_killing import Killer
from tests.contract.support.mongo_script import Script, running_script


@pytest.fixture
def other(mongo_uri: str, mongo_db: str) -> Iterator[Any]:
    """Another program, in the same database."""
    with mongod.client(mongo_uri) as client:
        yield client[mongo_db]


@pytest.fixture
async def store(mongo_uri: str, mongo_db: str) -> AsyncIterator[MongoStore]:
    store = MongoStore(mongo_uri, mongo_db, "messages", kinds=KINDS)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)


@pytest.fixture
def script() -> Iterator[Script]:
    """A server that answers as it is told, and notes what it is asked."""
    with running_script() as script:
        yield script
