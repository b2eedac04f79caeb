"""Messages as text for a terminal.

What others wrote is untrusted. A terminal interprets control characters: one could move
the cursor, set the window's title or print a line that looks like another user's. They are
shown escaped, ``\\x1b``, and so are characters that are not visible or change the direction of
text: a user id with one would look like another's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from chatsvc.client import Message

CONTINUED: Final = "  "
"""In front of every further line of a message, so that none looks like another message."""
_TAB: Final = "    "
_JOINERS: Final = frozenset("\u200c\u200d")
"""Shown as they are in content: several scripts and emoji consist of them."""
_BREAKS: Final = frozenset("\n\u2028\u2029")


def visible(text: str) -> str:
    """Escape everything in one line that a terminal would interpret, or not show at all."""
    return "".join(_shown(char) for char in text)


def visible_lines(text: str) -> str:
    """Escape several lines; the further ones are indented."""
    text = text.replace("\r\n", "\n")
    lines = "".join("\n" if char in _BREAKS else char for char in text).split("\n")
    return f"\n{CONTINUED}".join(_visible_content(line) for line in lines)


def channel_line(participants: Iterable[str]) -> str:
    """Name a conversation: ``[Channel: alice, bob, charlie]``."""
    return f"[Channel: {', '.join(visible(user) for user in participants)}]"


def conversation_line(channel: str, participants: Iterable[str], group: str | None) -> str:
    """Name a conversation, by the name of the group where it is one's: ``[Group: Readers]``."""
    if group is not None:
        return f"[Group: {visible(group)}]"
    return channel_line(list(participants) or [channel])


def message_line(message: Message) -> str:
    """Show sender and content: ``alice: Hello team!``."""
    return f"{visible(message.sender)}: {visible_lines(message.content)}"


def local_time(created_at: str) -> str:
    """Show an RFC 3339 time in the local time zone: ``2026-11-21 15:04``."""
    try:
        time = datetime.fromisoformat(created_at).astimezone()
    except (ValueError, OverflowError):
        return visible(created_at[:16])  # not what the protocol says: shown as it is
    return time.strftime("%Y-%m-%d %H:%M")


def _visible_content(line: str) -> str:
    shown = (char if char in _JOINERS else _shown(char) for char in line.replace("\t", _TAB))
    return "".join(shown)


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return _escaped(ord(char))
    return char


def _escaped(code: int) -> str:
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
