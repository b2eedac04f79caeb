"""Text that is not valid Unicode."""

from __future__ import annotations


def has_surrogate(text: str) -> bool:
    """Return whether a text holds a surrogate, and so cannot be encoded as UTF-8."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
