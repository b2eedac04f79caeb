"""The form of a check, and of its outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import msgspec

from chatsvc_conformance.context import Context

Body = Callable[[Context], Awaitable[None]]


class Check(NamedTuple):
    """``name`` is ``group.what``; ``sentence`` is the protocol's own sentence, in ``section``.

    ``body`` returns where the server does as the protocol says, and raises ``Failed`` or
    ``Skipped`` otherwise.
    """

    name: str
    section: str
    sentence: str
    body: Body


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How a check ended; ``reason`` is there unless it passed."""

    name: str
    section: str
    sentence: str
    result: Literal["pass", "fail", "skipped"]
    reason: str = ""


def check(name: str, section: str, sentence: str) -> Callable[[Body], Check]:
    """Make a check of a function."""

    def make(body: Body) -> Check:
        return Check(name, section, sentence, body)

    return make
