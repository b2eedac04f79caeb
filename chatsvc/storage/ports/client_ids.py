"""The port by which records are found by their ``client_id``, messages and changes.

A record that several requests became (``Record.keys``) is found by the key of each, as by its own:
for as long as it is there, and as a dead letter. They are there when the record is.

Of a kind that is ``latest`` (:mod:`chatsvc.core.kinds`) the newest alone is there to be found.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class PastClientIds(NamedTuple):
    """What bounds the ``client_id``s in a store, for a log that knows nothing of them.

    ``newest_ms`` is the time (Unix ms) in the highest id of a record or a dead letter, 0 if
    there is none. ``ahead`` are senders with the time at which the latest of their ids was
    minted, where that is more than ``AHEAD_MS`` (``log/key_bounds.py``) after the record's
    own id and after the time that was asked for; the latest first.
    """

    newest_ms: int
    ahead: Sequence[tuple[str, int]]


class ClientIdAt(NamedTuple):
    """Who sent the record of this id, and its ``client_id``, if it has one.

    Or who sent one of the requests that became it, and that request's.
    """

    id: int
    sender: str
    client_id: str | None


class ClientIdReader(Protocol):
    """The client ids of messages, changes and dead letters."""

    @abc.abstractmethod
    async def find_client_id(
        self,
        sender: str,
        channel: str,
        client_id: str,
        *,
        after: int = 0,
        dead_letters: bool = True,
    ) -> tuple[int, bytes] | None:
        """Id of the first record under this key, and the digest that it has of it.

        Args:
            after: only records above this id count.
            dead_letters: whether dead letters count. One that is being replayed meanwhile is
                found in either place.
        """

    @abc.abstractmethod
    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        """What is known of the ``client_id``s in here; at most ``limit`` senders.

        Args:
            since_ms: ids minted no later than ``AHEAD_MS`` after this time are not asked for,
                or than that after the newest record, where that is the earlier one.
        """

    @abc.abstractmethod
    async def client_ids_above(self, after: int, limit: int) -> Sequence[ClientIdAt]:
        """Of the oldest ``limit`` records above an id, ascending; dead letters do not count.

        Each has an entry, and one for each request that became it.
        """
