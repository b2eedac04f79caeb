"""Every log, held to what the port promises."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatsvc.log.base import MessageLog
from chatsvc.log.local import maintenance
from chatsvc.log.local.log import LocalLog
from chatsvc.log.reconcile import StoreState
from tests.contract.log_group_feature_suite import GroupFeatureSuite
from tests.contract.log_groups_suite import GroupSuite
from tests.contract.log_guards_suite import GuardSuite
from tests.contract.log_members_suite import MembersSuite
from tests.contract.log_state_exchange_suite import StateExchangeSuite
from tests.contract.log_state_suite import StateSuite
from tests.contract.log_suite import EMPTY, Backend, LogSuite, Opened
from tests.unit.support.fake_log import FakeLog


class LocalBackend(Backend):
    """A folder; a death is the folder as it was, copied while the log was open."""

    def __init__(self, folder: Path, store: StoreState | None = None) -> None:
        self.folder = folder
        self.store = store

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[MessageLog]:
        log = await LocalLog.open(
            self.folder,
            recent_bytes=1 << 20,
            backlog_bytes=1 << 30,
            idempotency_ms=600_000,
            idempotency_keys=1_000_000,
            retention_ms=86_400_000,
            store=self.store,
        )
        try:
            yield log
        finally:
            await log.close()

    @contextlib.asynccontextmanager
    async def died(self) -> AsyncIterator[MessageLog]:
        before = self.folder
        async with self.opened() as log:
            yield log
            self.folder = before.with_name(before.name + "-after")
            await asyncio.to_thread(shutil.copytree, before, self.folder)


class TestLocalLog(LogSuite, GuardSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return LocalBackend(tmp_path / "data")


class TestLocalState(
    StateSuite, MembersSuite, StateExchangeSuite, GroupSuite, GroupFeatureSuite, Opened
):
    """With a store: without one it is not known who is a member of what."""

    @pytest.fixture(autouse=True)
    def _keeps_what_has_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Once a second the log lets go of memberships that ended below its tail."""
        monkeypatch.setattr(maintenance, "_SECONDS", 3600.0)

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return LocalBackend(tmp_path / "data", EMPTY)


class TestFakeState(MembersSuite):
    """What features are tested with."""

    @pytest.fixture
    async def log(self) -> MessageLog:
        log = FakeLog()
        log.tail.listen(log.state.fold_members)
        return log
