"""Kinds of records, as their features declare them, and the kinds that a program knows.

The log and delivery carry records of any kind. What is kept of a record, and whether a page of
messages has it, is asked of its kind here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_KINDS: Final = 32
"""The kinds that a client can choose at once."""

MAX_KIND_NAME: Final = 32
KIND_NAME_PATTERN: Final = f"[a-z][a-z_]{{0,{MAX_KIND_NAME - 1}}}"
"""Of the whole name; the same in Python and in JSON Schema (ECMA-262)."""

_NAME: Final = re.compile(KIND_NAME_PATTERN)


def is_kind_name(text: str) -> bool:
    """Whether this can be the name of a kind, of this version or of another."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of record.

    Args:
        name: the ``type`` of its frames; 1 to 32 of ``[a-z_]``, a letter first.
        counts: whether a record is a message: pages have it, it counts as unread, and it moves
            its conversation up. Every other record is a change, which only a resume and
            ``GET /api/changes`` have.
        latest: whether only the newest record of a conversation, kind and target matters, as
            with read positions. The store keeps that one alone.
        blockable: whether a reader who has blocked the sender does not receive it. Must be false
            for changes of membership, which concern more people than the sender.

    Raises:
        ValueError: the name is not one, or a kind both counts and is ``latest``.
    """

    name: str
    counts: bool = False
    latest: bool = False
    blockable: bool = True

    def __post_init__(self) -> None:
        if not is_kind_name(self.name):
            raise ValueError(
                f"kind {self.name!r}: a name must be 1 to 32 of [a-z_], a letter first"
            )
        if self.counts and self.latest:
            raise ValueError(f"kind {self.name!r}: a kind that counts must not be latest")


class Kinds:
    """The kinds that a program knows, by name.

    Raises:
        ValueError: two have the same name, or two count.
    """

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds: dict[str, Kind] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise ValueError(f"two kinds have the name {kind.name!r}")
            self._kinds[kind.name] = kind
        counted = [one.name for one in self._kinds.values() if one.counts]
        if len(counted) > 1:
            raise ValueError(f"only one kind may count, and here do {', '.join(counted)}")
        self._counted = frozenset(one.name for one in self._kinds.values() if one.counts)
        self._blockable = frozenset(one.name for one in self._kinds.values() if one.blockable)
        self._latest = frozenset(one.name for one in self._kinds.values() if one.latest)

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    @property
    def names(self) -> frozenset[str]:
        """The names of all of them."""
        return frozenset(self._kinds)

    def counts(self, name: str) -> bool:
        """Whether a record of this kind is a message; ``False`` for an unknown kind."""
        return name in self._counted

    def is_latest(self, name: str) -> bool:
        """Whether only the newest record of this kind and one target is kept."""
        return name in self._latest

    def is_blockable(self, name: str) -> bool:
        """Whether a block of the sender hides this kind; ``False`` for an unknown kind."""
        return name in self._blockable
