"""How the local log's state and a store's replace each other; for the loop's thread."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import MAX_PAGE_BYTES
from chatsvc.core.state_rows import StatePage, StateRow
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.state_reader import LocalState
from chatsvc.log.local.store_positions import StorePositions
from chatsvc.log.local.worker import Worker, call_in_thread
from chatsvc.log.state import StateDue, StateExchange
from chatsvc.log.state_repair import StateRepair

_AT_ONCE: Final = 500
"""Records, or rows, that are gone through between two commits."""

_logger = structlog.get_logger("chatsvc.log")


class LocalStateExchange(StateExchange):
    """See :class:`~chatsvc.log.state.StateExchange`.

    Args:
        file: the log's; touched by its thread alone.
        positions: keep what is due.
        state: reads the rows.
        worker: the log's thread. What is done here takes turns with the commits.
    """

    def __init__(
        self, file: LogFile, positions: StorePositions, state: LocalState, worker: Worker
    ) -> None:
        self._file = file
        self._positions = positions
        self._state = state
        self._worker = worker

    @property
    def state_due(self) -> StateDue:
        return self._positions.state_due

    async def begin_adoption(self) -> None:
        await call_in_thread(self._file.drop_state, self._worker.commit)

    async def adopt(self, rows: Sequence[StateRow]) -> None:
        await call_in_thread(lambda: self._file.adopt(rows), self._worker.commit)

    async def end_adoption(self) -> None:
        after: int | None = self._positions.stored_position
        changed = False
        while after is not None:
            folded = await call_in_thread(partial(self._fold, after), self._worker.commit)
            after, changed = folded[0], changed or folded[1]
        changed |= await self._repair()
        due = StateDue.REWRITING if changed else StateDue.NOTHING
        has_rows = await call_in_thread(self._file.has_state, self._worker.commit)
        await self._positions.set_state_due(due)
        await self._state.adopted(is_empty=not has_rows)
        _logger.info("log_state_adopted")

    async def _repair(self) -> bool:
        """Replace rows that contradict each other; whether there were any."""
        repair, after, changed = StateRepair(), "", False
        while True:
            page = await self.state_page(after, _AT_ONCE)
            rows = repair.repaired(page.rows)
            after = page.after
            if not after:
                rows += repair.missing()
            if rows:
                await self.adopt(rows)
                changed = True
            if not after:
                return changed

    async def state_page(self, after: str, limit: int) -> StatePage:
        return await call_in_thread(
            lambda: self._file.state_page(after, limit), self._worker.maintain
        )

    async def end_rewriting(self) -> None:
        await self._positions.set_state_due(StateDue.NOTHING)
        _logger.info("log_state_rewritten")

    def _fold(self, after: int) -> tuple[int | None, bool]:
        """Fold the next records above a position.

        Returns:
            The last one's id, if there was one, and whether any changed a row.
        """
        records = self._file.batch(after, MAX_ID, _AT_ONCE, MAX_PAGE_BYTES)
        if not records:
            return None, False
        return records[-1].id, self._file.fold_again(records)
