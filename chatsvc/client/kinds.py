"""Which kinds of records a client asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chatsvc.client.events import MESSAGE
from chatsvc.core.kinds import MAX_KINDS, is_kind_name

ALL: Final = "all"
FEATURE: Final = "changes"
"""What ``hello`` lists where the server has records of other kinds than messages."""


@dataclass(frozen=True, slots=True)
class ChosenKinds:
    """Kinds by name, ascending; ``None``: all, those of newer servers included."""

    names: tuple[str, ...] | None

    def __contains__(self, kind: str) -> bool:
        return self.names is None or kind in self.names

    @property
    def messages_only(self) -> bool:
        """Whether these are messages and nothing else, which every server has."""
        return self.names == (MESSAGE,)

    @property
    def query(self) -> str | None:
        """The parameter that asks for them; ``None``: without it all are answered."""
        return None if self.names is None else ",".join(self.names)


MESSAGES_ONLY: Final = ChosenKinds((MESSAGE,))


def chosen_kinds(kinds: Iterable[str] | None) -> ChosenKinds:
    """Return what a caller chose: names, or ``None`` or ``"all"`` for all.

    Raises:
        TypeError: another single string, whose characters would be taken for names, or a name
            that is not a string.
        ValueError: there are none or too many, or one that cannot be the name of a kind.
    """
    if kinds is None or kinds == ALL:
        return ChosenKinds(None)
    if isinstance(kinds, str):
        raise TypeError(f"kinds must be an iterable of names, or {ALL!r}, not another string")
    names = sorted(set(_checked(kinds)))
    if not 1 <= len(names) <= MAX_KINDS:
        raise ValueError(f"kinds must name 1 to {MAX_KINDS} kinds")
    return ChosenKinds(tuple(names))


def _checked(kinds: Iterable[str]) -> list[str]:
    names = list(kinds)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"kinds must be strings, not {type(name).__name__}")
        if not is_kind_name(name):
            raise ValueError(f"a kind must be 1 to 32 of [a-z_], a letter first: {name!r}")
    return names
