"""What a socket may cost: in a turn of the loop, and over time.

Both are counted in units. A frame that is not an accepted send (a control frame, a
``ping``, a refusal, a repeated ``client_id``, a scrap of a fragmented message) is one, and
one more for each 4 KiB. Sends that are accepted are not counted over time: the window of
unacknowledged sends, the log and the backlog's bounds hold them.
"""

from __future__ import annotations

from typing import Final

TURN_UNITS: Final = 64
"""Of one socket in one turn of the loop; then it is the others' turn. As many as the sends
that a client may have unacknowledged by default, so that a full window is one turn; as
pings or refusals it is under a millisecond."""

UNIT_BYTES: Final = 4096

AUTH_UNITS: Final = 20
"""Of an ``auth``: a signature is checked, which takes twenty times as long as a ping (ES256
0.1 ms). A client needs one for each life of a token."""

RATE: Final = 100.0
"""Units a second that a socket may cost for as long as it likes: about a thousandth of a
core. A client that pings twice a second and is refused ten times a second uses an eighth."""

BURST: Final = 1000
"""Units that it may cost at once beyond that: sixteen full windows of sends refused by a
log at its bound, or fifty tokens."""

ANSWERS_BYTES: Final = 16 * 1024
"""Answers that may wait unsent in a slow socket; beyond them it is not read."""


def units_of(payload: bytes) -> int:
    """What a frame costs by its size."""
    return 1 + len(payload) // UNIT_BYTES


def spend(spent_until: float, units: int, now: float) -> float | None:
    """Take units from a socket's rate (the generic cell rate algorithm, ITU-T I.371).

    Args:
        spent_until: what the call before returned; 0.0 at first. In seconds.
        now: of the loop's clock, in seconds.

    Returns:
        The time at which everything that was spent is paid off, or ``None`` where that is
        more than the burst.
    """
    until = max(spent_until, now) + units / RATE
    return until if until - now <= BURST / RATE else None
