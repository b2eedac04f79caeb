"""The log's own state handed between log and store, after they were attached to each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, Protocol

from chatsvc.core.state_rows import StatePage, StateRow
from chatsvc.log.state import StateDue, StateExchange
from chatsvc.storage.ports.membership import StateReader, StateWriter

ROWS_AT_ONCE: Final = 1000
"""How many rows are handed over in one go."""


class StateStore(StateReader, StateWriter, Protocol):
    """A store, as far as it keeps the log's own state."""


async def settle_state(log: StateExchange, store: StateStore) -> None:
    """Do what is due to the state: the log takes the store's rows, or the store the log's.

    Broken off, it is begun again with the next call.

    Raises:
        StoreUnavailable: the store does not answer.
        LogUnavailable: the rows could not be written.
    """
    if log.state_due is StateDue.ADOPTION:
        await _adopt(log, store)
    if log.state_due is StateDue.REWRITING:
        await _rewrite(log, store)


async def _adopt(log: StateExchange, store: StateStore) -> None:
    await log.begin_adoption()
    async for rows in _pages(store.state_page):
        await log.adopt(rows)
    await log.end_adoption()


async def _rewrite(log: StateExchange, store: StateStore) -> None:
    async for rows in _pages(log.state_page):
        await store.put_state(rows)
    await log.end_rewriting()


async def _pages(
    read: Callable[[str, int], Awaitable[StatePage]],
) -> AsyncIterator[Sequence[StateRow]]:
    after = ""
    while True:
        page = await read(after, ROWS_AT_ONCE)
        if page.rows:
            yield page.rows
        after = page.after
        if not after:
            return
