"""How many conversations a sender may begin in an hour.

A conversation's first message costs every participant a row and a list, whatever its size.
New means: the log's recent end has no message of it, and this sender began it not lately.
So an old conversation that went quiet counts once when it goes on; nothing is looked up.

Each sender has as many beginnings as the setting says, and gets one back every so many
seconds. What is remembered is bounded: the senders that began something most recently, and the
beginnings most recently made; whoever falls out of either starts anew, or is counted again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from chatsvc.core.errors import TooManyRequests

SENDERS: Final = 16_384
RECENT: Final = 131_072
_HOUR: Final = 3600.0


class NewConversations:
    """Bound the conversations that a sender begins in an hour.

    Args:
        per_hour: how many a sender may begin; 0 is no bound.
        clock: seconds that only go up.
    """

    def __init__(self, per_hour: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_hour = per_hour
        self._clock = clock
        # Sender: beginnings left, as of when. The one who began something last is at the end.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._recent: OrderedDict[int, None] = OrderedDict()  # hashes of (sender, channel)
        self.refused = 0
        """Sends refused because their sender began too many."""

    def begin(self, sender: str, channel: str) -> None:
        """Count a beginning, unless this sender made it lately.

        Raises:
            TooManyRequests: ``too_many_conversations``: the bound is reached.
        """
        if not self._per_hour:
            return
        began = hash((sender, channel))
        if began in self._recent:
            return
        now = self._clock()
        rate = self._per_hour / _HOUR
        left, since = self._left.get(sender, (float(self._per_hour), now))
        left = min(float(self._per_hour), left + (now - since) * rate)
        if left < 1:
            self.refused += 1
            raise TooManyRequests(
                f"a sender must not begin more than {self._per_hour} conversations an hour",
                code="too_many_conversations",
                retry_after=(1 - left) / rate,
            )
        self._left[sender] = (left - 1, now)
        self._left.move_to_end(sender)
        self._recent[began] = None
        if len(self._left) > SENDERS:
            self._left.popitem(last=False)
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def __len__(self) -> int:
        """How many senders are remembered."""
        return len(self._left)
