"""A stretch of the log that a reader asks for, and the page that answers it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from chatsvc.core.ids import MAX_ID


class Bounds(NamedTuple):
    """Ids strictly between ``after`` and ``before``; both are exclusive and need not exist.

    ``newest`` says from which end at most ``limit`` are taken: the newest of the stretch
    (paging back), or the oldest (catching up). Pages are ascending by id either way.
    """

    limit: int
    after: int = 0
    before: int = MAX_ID
    newest: bool = True


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message as a reader needs it: the JSON of ``body`` is what clients see.

    ``rev`` is the id of the last record that changed it (its own, as long as nothing
    has); replay goes by ``rev``.
    """

    id: int
    rev: int
    channel: str
    sender: str
    origin: str
    audience: tuple[str, ...]
    body: bytes
