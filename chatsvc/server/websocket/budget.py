"""The processing budget of a socket: per turn of the event loop, and per second.

Both are counted in units. A frame that is not an accepted send (a control frame, a
``ping``, a refusal, a repeated ``client_id``, a small fragment) costs one unit, and one more
for each 4 KiB. Accepted sends are not counted over time: the window of unacknowledged sends,
the log and the limits of the backlog bound them.
"""

from __future__ import annotations

from typing import Final

TURN_UNITS: Final = 64
"""Units of one socket in one turn of the event loop; then other sockets have their turn. Equal
to the default maximum of unacknowledged sends, so that a full window is one turn; as pings or
refusals it takes less than a millisecond."""

UNIT_BYTES: Final = 4096
"""Bytes of a frame that cost one more unit."""

AUTH_UNITS: Final = 20
"""Units of an ``auth``: the signature check takes twenty times as long as a ping (ES256
0.1 ms). A client needs one ``auth`` per token lifetime."""

RATE: Final = 100.0
"""Units per second that a socket may use without a time limit: about a thousandth of a core.
A client that pings twice a second and is refused ten times a second uses an eighth of it."""

BURST: Final = 1000
"""Units that a socket may use at once beyond :data:`RATE`: sixteen full windows of sends that
are refused because the backlog is full, or fifty tokens."""

ANSWERS_BYTES: Final = 16 * 1024
"""Bytes of answers that may be unsent in a slow socket; beyond this limit it is not read."""


def units_of(payload: bytes) -> int:
    """Return the cost of a frame of this size."""
    return 1 + len(payload) // UNIT_BYTES


def spend(spent_until: float, units: int, now: float) -> float | None:
    """Charge units to a socket's rate (the generic cell rate algorithm, ITU-T I.371).

    Args:
        spent_until: the previous result, in seconds; 0.0 at first.
        now: the time of the event loop's clock, in seconds.

    Returns:
        The time when all charged units are paid off, or ``None`` if the burst is exceeded.
    """
    until = max(spent_until, now) + units / RATE
    return until if until - now <= BURST / RATE else None
