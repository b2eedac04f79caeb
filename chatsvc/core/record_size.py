"""How many bytes of memory a record takes; ``tests/unit/log/test_backlog.py`` measures it."""

from __future__ import annotations

from typing import Final, Protocol

from chatsvc.core.audience import INBOX_PARTICIPANTS, names_readers, places
from chatsvc.core.membership import RequestKey, StateChange

RECORD_BYTES: Final = 480
"""Bytes of memory of a record without its body and its audience: the struct, its short
strings, its entry in the log's order."""
PLACE_BYTES: Final = 10
"""Bytes of each further entry of a record in an existing list: a user's, a channel's."""
TOUCH_BYTES: Final = 120
"""Bytes of a key that a record touches, without its text: its entry in ``log/guards.py``."""
PLACES_BYTES: Final = tuple(
    PLACE_BYTES * places(("",) * few) for few in range(INBOX_PARTICIPANTS + 1)
)
"""Bytes of all entries of a record, by the size of its audience where it is not large."""
ROW_BYTES: Final = 400
"""Bytes of a row of :class:`~chatsvc.core.membership.StateChange`, at most, without its texts."""


_TUPLE_BYTES: Final = 48
"""Bytes of a tuple without its entries."""
_POINTER_BYTES: Final = 8


class HasRareParts(Protocol):
    """A draft or a record, as far as it may have what most have not."""

    @property
    def channel(self) -> str:
        """The conversation."""

    @property
    def audience(self) -> tuple[str, ...]:
        """Whom it names."""

    @property
    def target(self) -> str:
        """What it is about."""

    @property
    def touches(self) -> tuple[str, ...]:
        """The keys of the state that it changes."""

    @property
    def state(self) -> StateChange | None:
        """The rows of the log's own state that it changes."""

    @property
    def keys(self) -> tuple[RequestKey, ...]:
        """Those of the requests that became one record."""


def rare_bytes(of: HasRareParts) -> int:
    """Bytes of what most records have not."""
    cost = TOUCH_BYTES * len(of.touches) + sum(map(text_bytes, of.touches))
    if of.target:
        cost += text_bytes(of.target)
    if of.state is not None:
        cost += _state_bytes(of.state)
    for key in of.keys:
        cost += ROW_BYTES + text_bytes(key.sender) + text_bytes(key.client_id)
    if names_readers(of.channel, of.audience):
        cost += _named_bytes(of.channel, of.audience)
    return cost


def _named_bytes(channel: str, audience: tuple[str, ...]) -> int:
    """Bytes of a channel and names that no other record shares, and of the entries of each."""
    each = PLACE_BYTES + _POINTER_BYTES
    names = sum([each + text_bytes(name) for name in audience])
    return _TUPLE_BYTES + text_bytes(channel) + names - PLACE_BYTES * places(audience)


def _state_bytes(state: StateChange) -> int:
    texts = [(one.user, one.role) for one in state.members]
    texts += [(one.user, one.of) for one in state.filters]
    cost = sum(ROW_BYTES + text_bytes(one) + text_bytes(other) for one, other in texts)
    if state.channel is not None:
        cost += ROW_BYTES + len(state.channel.settings)
    return cost


def text_bytes(text: str) -> int:
    """Bytes of memory of a text, at most, the same before and after it was encoded.

    One that is not ASCII keeps its UTF-8 once it was encoded.
    """
    if text.isascii():
        return 50 + len(text)
    return 80 + len(text) * (8 if max(text) > "\uffff" else 5)
