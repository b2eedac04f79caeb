"""Parse the text of variables, strictly; errors say what to write.

A parser raises ``ValueError`` with what follows the value in a sentence: ``must be …``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from chatsvc.core.origins import LOOPBACK, origin_error

Parser = Callable[[str], Any]

_SUFFIXES: Final = {"gib": 1024**3, "mib": 1024**2, "kib": 1024}
_SHOWN_SUFFIXES: Final = {1024**3: "GiB", 1024**2: "MiB", 1024: "KiB"}
_SIZE: Final = re.compile(r"([0-9]+)\s*([a-z]*)\Z", re.IGNORECASE)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def text(raw: str) -> str:
    """Return the text unchanged."""
    return raw


def path(raw: str) -> str:
    """Return the path unchanged; ``~`` and ``~user`` must be known."""
    expanded(raw)
    return raw


def expanded(raw: str) -> Path:
    """Return a path in which ``~`` and ``~user`` are replaced by their home folders.

    Raises:
        ValueError: there is none.
    """
    try:
        return Path(raw).expanduser()
    except RuntimeError:
        raise ValueError("must not begin with the home folder of an unknown user") from None


def comma_list(raw: str) -> tuple[str, ...]:
    """Parse a list that is joined by commas."""
    return tuple(word.strip() for word in raw.split(",") if word.strip())


def flag(raw: str) -> bool:
    """Parse a boolean."""
    if raw.lower() in _TRUE:
        return True
    if raw.lower() in _FALSE:
        return False
    raise ValueError("must be true or false (or 1, yes, on, 0, no, off)")


def choice(*allowed: str, **others: str) -> Parser:
    """Return a parser of one of a few words, in upper or lower case.

    Args:
        others: further words, and the value of each.
    """
    meant: Mapping[str, str] = {**{word: word for word in allowed}, **others}

    def parse(raw: str) -> str:
        found = meant.get(raw.strip().lower())
        if found is not None:
            return found
        close = difflib.get_close_matches(raw.lower(), meant, n=1)
        hint = f"; did you mean {meant[close[0]]}?" if close else ""
        raise ValueError(f"must be one of {', '.join(allowed)}{hint}")

    return parse


def whole(minimum: int, maximum: int) -> Parser:
    """Return a parser of a whole number between bounds, both included."""

    def parse(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            raise ValueError("must be a whole number") from None
        if not minimum <= value <= maximum:
            raise ValueError(f"must be from {minimum} to {maximum}")
        return value

    return parse


def number(minimum: float, maximum: float) -> Parser:
    """Return a parser of a number between bounds, both included."""

    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            raise ValueError("must be a number") from None
        if not minimum <= value <= maximum:
            raise ValueError(f"must be from {minimum:g} to {maximum:g}")
        return value

    return parse


def size(minimum: int, maximum: int) -> Parser:
    """Return a parser of bytes: a whole number, or one with KiB, MiB or GiB in any case."""

    def parse(raw: str) -> int:
        match = _SIZE.match(raw.strip())
        suffix = match[2].lower() if match else ""
        if match is None or (suffix and suffix not in _SUFFIXES):
            raise ValueError(
                "must be a whole number of bytes, or one with KiB, MiB or GiB, such as "
                f"{_shown_size(maximum)}"
            )
        value = int(match[1]) * _SUFFIXES.get(suffix, 1)
        if not minimum <= value <= maximum:
            raise ValueError(f"must be from {_shown_size(minimum)} to {_shown_size(maximum)}")
        return value

    return parse


def _shown_size(value: int) -> str:
    for factor, suffix in _SHOWN_SUFFIXES.items():
        if value and value % factor == 0:
            return f"{value // factor}{suffix}"
    return f"{value} bytes"


def origins(raw: str) -> tuple[str, ...]:
    """Parse origins that are joined by commas; ``*`` and ``loopback`` stand for several."""
    found = comma_list(raw)
    for origin in found:
        if origin in ("*", LOOPBACK):
            continue
        error = origin_error(origin)
        if error is not None:
            raise ValueError(f"cannot be used: {error}")
    return found


def header_names(raw: str) -> tuple[str, ...]:
    """Parse names of HTTP header fields that are joined by commas (RFC 9110 §5.1)."""
    found = comma_list(raw)
    for name in found:
        if name == "*":
            raise ValueError("must not contain *, which leaves out Authorization: write each name")
        if not _HEADER_NAME.match(name):
            raise ValueError(f"cannot be used: {name!r} must be the name of a header field")
    return found
