"""Keys of rows as text that sorts as the keys do, value by value."""

from __future__ import annotations

from typing import Final

from chatsvc.core.projection import Key

_END: Final = "\x01\x01"
_ESCAPES: Final = str.maketrans({"\x00": "\x01\x02", "\x01": "\x01\x03"})
_OFFSET: Final = 1 << 63


def key_text(key: Key) -> str:
    """Return a key, or a prefix of one, as text without NUL.

    The text of a key begins with that of each of its prefixes, and with that of no other. In the
    order of its bytes in UTF-8 it is where the key is among those of the same column types.
    """
    return "".join(
        (value.translate(_ESCAPES) if isinstance(value, str) else f"{value + _OFFSET:016x}") + _END
        for value in key
    )


def end_of(prefix: Key) -> str:
    """Return a text above that of every key with this prefix, and below all that follow.

    The prefix must not be empty: no text is above all others.
    """
    return key_text(prefix)[:-1] + "\x02"
