"""What waits for a commit, and how those who wait are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from chatsvc.core.errors import Conflict
from chatsvc.core.record import Draft, Record
from chatsvc.log.base import Appended, repeat_of
from chatsvc.log.guards import Guard
from chatsvc.log.idempotency import Key


class Together(NamedTuple):
    """What an append has that is more than one plain draft.

    ``guard``: what the decision went by. ``listed``: whether a list is the result.
    """

    drafts: tuple[Draft, ...]
    guard: Guard | None
    listed: bool


class Follower(NamedTuple):
    """A retry that came before the first was durable.

    It waits for the write, not for the first's caller, who may go away.
    """

    draft: Draft
    together: Together | None
    future: asyncio.Future[Any]

    def repeat(self, first_id: int, first_digest: bytes, body: bytes | None) -> None:
        """Resolve a retry of what is durable already; ``body`` is that of the first, if known."""
        if self.future.done():
            return
        try:
            appended = repeat_of(self.draft, first_id, first_digest, body)
        except Conflict as exc:
            self.future.set_exception(exc)
        else:
            listed = self.together is not None and self.together.listed
            self.future.set_result([appended] if listed else appended)


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """An append that waits to be durable: its first draft, and the others in ``together``.

    ``size`` is what it counts for in the backlog, ``sizes`` the same of each of its drafts, where
    it is more than a plain one.
    """

    draft: Draft
    key: Key | None
    size: int
    future: asyncio.Future[Any]
    followers: list[Follower]
    together: Together | None = None
    sizes: tuple[int, ...] = ()

    @property
    def drafts(self) -> tuple[Draft, ...]:
        """All of its drafts."""
        return (self.draft,) if self.together is None else self.together.drafts

    def answer_of(self, records: Sequence[Record]) -> Appended | list[Appended]:
        """Its result, where these are the records of its drafts."""
        if self.together is not None and self.together.listed:
            return [Appended(record.id, record.body, False) for record in records]
        return Appended(records[0].id, records[0].body, False)


def pass_on(future: asyncio.Future[Any], done: asyncio.Future[Any]) -> None:
    """Resolve ``future`` as ``done`` was."""
    error = done.exception()
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(done.result())
