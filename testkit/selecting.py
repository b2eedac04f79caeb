"""Which records connections receive, where a test has messages alone."""

from __future__ import annotations

from typing import Final

from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.delivery.selection import Selection

SELECTION: Final = Selection(MESSAGES_ONLY, {})
