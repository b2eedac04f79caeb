"""The port by which log and store agree on what the store holds.

The watermark is what :meth:`StoreWatermark.set_watermark` set last, and is no more durable than
what was written before it: a store that is put back to an earlier moment has the watermark of
that moment, or an earlier one.
"""

from __future__ import annotations

import abc
from typing import Protocol

from chatsvc.log.reconcile import Mark


class StoreWatermark(Protocol):
    """The store's name and its watermark; see the module's text."""

    @abc.abstractmethod
    async def identity(self) -> str:
        """A random name given to the store when it was made: watermarks belong to one.

        Looked up each time: a database may be put back, or another put in its place, under
        a service that runs. After a change
        :meth:`~chatsvc.storage.ports.lifecycle.StoreLifecycle.open` is called again.
        """

    @abc.abstractmethod
    async def watermark(self) -> Mark | None:
        """The watermark that the persister wrote last; ``None`` where it wrote none yet.

        It says up to which id everything is stored, and by which epoch of the log. The highest
        id stored does not prove that: batches are unordered.
        """

    @abc.abstractmethod
    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        """Set the watermark to ``new`` if it is ``expected``; return whether it was.

        ``False``: nothing was changed; another service writes here, or the store was restored.
        A call whose answer was lost may have been carried out.
        """
