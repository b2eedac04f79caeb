"""The checks, by what they are about."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Final

from chatsvc_conformance.check import Check
from chatsvc_conformance.checks import (
    changes,
    channels,
    framing,
    group_access,
    group_members,
    groups,
    idempotency,
    overview,
    positions,
    reading,
    refusals,
    resuming,
    sending,
    sockets,
    tokens,
)


def _of(module: ModuleType) -> Iterator[Check]:
    """A module's checks, those in its tuples too, in the order in which it defines them."""
    for held in vars(module).values():
        if isinstance(held, Check):
            yield held
        elif isinstance(held, tuple):
            yield from (entry for entry in held if isinstance(entry, Check))


ALL: Final[tuple[Check, ...]] = tuple(
    check
    for module in (
        overview,
        tokens,
        sending,
        channels,
        idempotency,
        reading,
        changes,
        groups,
        group_members,
        group_access,
        refusals,
        sockets,
        resuming,
        positions,
        framing,
    )
    for check in _of(module)
)
"""In the order in which they are run."""
