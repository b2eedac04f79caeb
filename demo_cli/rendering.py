"""Messages as text for a terminal.

What others wrote is untrusted. A terminal obeys control characters: one could move the
cursor, set the window's title or paint a line that looks like somebody else's. They are
shown as what they are, ``\\x1b``; the marks that turn the direction of text likewise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from chatsvc.client import Message

CONTINUED: Final = "  "
"""In front of every further line of a message, lest it pass for a message of its own."""
_TAB: Final = "    "
_DIRECTION: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_BREAKS: Final = frozenset("\n\u2028\u2029")


def visible(text: str) -> str:
    """One line without anything that a terminal would obey."""
    return "".join(_shown(char) for char in text)


def visible_lines(text: str) -> str:
    """The same of several lines, the further ones set in."""
    text = text.replace("\r\n", "\n")
    lines = "".join("\n" if char in _BREAKS else char for char in text).split("\n")
    return f"\n{CONTINUED}".join(visible(line.replace("\t", _TAB)) for line in lines)


def channel_line(participants: Iterable[str]) -> str:
    """``[Channel: alice, bob, charlie]``."""
    return f"[Channel: {', '.join(visible(user) for user in participants)}]"


def message_line(message: Message) -> str:
    """``alice: Hello team!``."""
    return f"{visible(message.sender)}: {visible_lines(message.content)}"


def clock(created_at: str) -> str:
    """``2026-11-21 15:04``, on the clock of whoever reads, of an RFC 3339 time."""
    try:
        time = datetime.fromisoformat(created_at).astimezone()
    except (ValueError, OverflowError):
        return visible(created_at[:16])  # not what the protocol says: shown as it is
    return time.strftime("%Y-%m-%d %H:%M")


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Cc", "Cs", "Zl", "Zp") or char in _DIRECTION:
        return _escaped(ord(char))
    return char


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
