"""How a check fails or is skipped, and the assertions it is written in."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any, Final

_SHOWN: Final = 300


class Failed(Exception):
    """The server did otherwise than the protocol says; the text is what it did."""


class Skipped(Exception):
    """The check cannot be run here; the text says why."""


def expect(condition: object, text: str) -> None:
    """Require a condition.

    Args:
        text: what is wrong, and what must hold.

    Raises:
        Failed: the condition does not hold.
    """
    if not condition:
        raise Failed(text)


def same(got: object, want: object, what: str) -> None:
    """Require that two values are equal as JSON values.

    Args:
        what: names the value in the text of a failure.

    Raises:
        Failed: they differ.
    """
    if not _equal(got, want):
        raise Failed(f"{what} is {shown(got)} and must be {shown(want)}")


def one_of(got: object, wanted: Container[Any], what: str) -> None:
    """Require that a value is one of several.

    Raises:
        Failed: it is none of them.
    """
    if got not in wanted:
        raise Failed(f"{what} is {shown(got)} and must be one of {shown(wanted)}")


def shown(value: object) -> str:
    """A value as JSON, cut where it is long."""
    if isinstance(value, set | frozenset):
        value = sorted(value, key=repr)
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _equal(one: Any, other: Any) -> bool:
    """As JSON has it: ``true`` is not ``1``, and ``1.0`` is ``1``."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, set | frozenset) or isinstance(other, set | frozenset):
        return bool(one == other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
