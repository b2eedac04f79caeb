"""The step after the acknowledgements: what must follow the answers to a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

Action = Callable[[], None]


class Acknowledgements:
    """Writes the answers of a turn together, and runs what must come after those to a commit.

    The log, the fan-out and the sockets rely on this contract, and on no other order of theirs:

    1. Inside ``with acknowledgements:`` the log publishes the records of a commit and resolves
       its futures. An action that :meth:`after` is given there runs when the callbacks of these
       futures have run and the answers that they queued are written.
    2. Outside of it, an action runs in the next turn of the event loop, behind the answers that
       are queued by then.
    3. What :meth:`write_soon` is given is called once, before the actions that follow it and at
       the latest in the next turn. A connection queues its answers until then, so that those of
       one turn are one write.
    4. What one of them raises goes to the event loop's exception handler, as that of any
       callback, and keeps no other from running.

    Of the event loop this needs one promise of asyncio's: callbacks run in the order in which
    they were scheduled, and a future schedules its own when it is resolved. One callback that is
    scheduled behind the futures of a commit runs after all of theirs. A task that awaits such a
    future (a request over HTTP, a send that is looked up) has run one step by then; what it does
    in later steps is in no order with the actions.
    """

    __slots__ = ("_actions", "_due", "_writes")

    def __init__(self) -> None:
        self._actions: list[Action] | None = None
        self._writes: list[Action] = []
        self._due = False

    def __enter__(self) -> None:
        self._actions = []

    def __exit__(self, *raised: object) -> None:
        actions, self._actions = self._actions, None
        if actions:
            self._due = True  # the answers to this commit need no callback of their own
            asyncio.get_running_loop().call_soon(self._run, actions)

    def after(self, action: Action) -> None:
        """Call ``action`` after the acknowledgements; see the contract of the class."""
        if self._actions is not None:
            self._actions.append(action)
        else:
            asyncio.get_running_loop().call_soon(self._run, (action,))

    def write_soon(self, write: Action) -> None:
        """Call ``write`` when the answers of this turn are queued."""
        self._writes.append(write)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._write_due)

    def _write_due(self) -> None:
        self._due = False
        writes = self._writes
        if writes:
            self._writes = []
            _call(writes)

    def _run(self, actions: Sequence[Action]) -> None:
        self._write_due()
        _call(actions)


def _call(actions: Sequence[Action]) -> None:
    for action in actions:
        try:
            action()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:  # noqa: BLE001 - as the event loop does: the handler logs it
            details = {"message": f"failed after a commit: {action!r}", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(details)
