"""WebSocket close codes; the range tells a client what to do, for unknown ones too.

4000 to 4099: come back after a remedy (a fresh token). 4100 to 4199: come back with
``since`` after a jittered wait. 4200 to 4299: never. 1012 and 1013 say when, in the
reason: ``code;retry_after_ms=N``. Anything else: jittered backoff. RFC 6455 §7.4.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
INVALID_PAYLOAD: Final = 1007
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
RESTART: Final = 1012
OVERLOAD: Final = 1013
TOKEN_INVALID: Final = 4001
TOKEN_EXPIRED: Final = 4002
FORBIDDEN: Final = 4003
HEARTBEAT_MISSED: Final = 4103
PROTOCOL_VERSION: Final = 4200
BANNED: Final = 4201

_RETRY_AFTER = re.compile(r";retry_after_ms=(\d{1,9})\Z")


class Advice(enum.Enum):
    """What a client does after a close."""

    REMEDY = "remedy"
    RESUME = "resume"
    NEVER = "never"
    BACKOFF = "backoff"


class CloseAdvice(NamedTuple):
    """``retry_after`` is in seconds, where the server named it."""

    advice: Advice
    retry_after: float | None = None


def advise(code: int, reason: str = "") -> CloseAdvice:
    """What the code and its reason ask of a client."""
    match = _RETRY_AFTER.search(reason)
    retry_after = int(match[1]) / 1000 if match else None
    if 4000 <= code <= 4099:
        return CloseAdvice(Advice.REMEDY, retry_after)
    if 4100 <= code <= 4199 or code in (RESTART, OVERLOAD):
        return CloseAdvice(Advice.RESUME, retry_after)
    if 4200 <= code <= 4299:
        return CloseAdvice(Advice.NEVER)
    return CloseAdvice(Advice.BACKOFF, retry_after)


def reason_with_retry(name: str, retry_after_ms: int) -> str:
    """``restart;retry_after_ms=1500``."""
    return f"{name};retry_after_ms={retry_after_ms}"
