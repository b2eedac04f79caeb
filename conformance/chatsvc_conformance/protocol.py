"""Names and forms that ``docs/protocol.md`` gives and no file of ``contracts/`` has."""

from __future__ import annotations

import re
from typing import Final

PROTOCOL_VERSION: Final = "chatsvc.v1"
"""The subprotocol of the socket."""
BEARER_PREFIX: Final = "bearer."
"""Before the token in a second subprotocol, for browsers."""

_CURSOR: Final = re.compile(r"[0-9a-z]{1,32}\.[0-9a-f]{16}\Z")


def is_cursor(text: str) -> bool:
    """Whether a text has the form of a cursor: ``epoch.id``."""
    return _CURSOR.match(text) is not None
