"""Which messages this client sent itself: pages, echoes and replays hold them too."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from chatsvc.client.events import Message

MAX_OWN_SENDS: Final = 20_000
_Key = TypeVar("_Key", str, tuple[str, str])


class OwnSends:
    """Recent sends of one client, to be known again wherever they appear.

    A send is known by its ``client_id`` and its conversation (the same ``client_id`` of the
    same user in another conversation is another message, of another device perhaps), and
    by its id as well once it is acknowledged.

    Args:
        max_size: sends that are remembered; beyond it the oldest are forgotten.
    """

    def __init__(self, max_size: int = MAX_OWN_SENDS) -> None:
        self._max_size = max_size
        self._sends: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, client_id: str, channel: str) -> None:
        """Remember a send before it goes out; ``channel`` is the conversation's key."""
        self._remember(self._sends, (client_id, channel))

    def accepted(self, message_id: str) -> None:
        """Remember the id that a send was acknowledged with."""
        self._remember(self._ids, message_id)

    def __contains__(self, message: Message) -> bool:
        if message.id in self._ids:
            return True
        if message.client_id is None:
            return False
        return (message.client_id, message.channel) in self._sends

    def _remember(self, known: OrderedDict[_Key, None], key: _Key) -> None:
        known[key] = None
        known.move_to_end(key)
        if len(known) > self._max_size:
            known.popitem(last=False)
