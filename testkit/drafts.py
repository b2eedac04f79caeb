"""Drafts and records for tests, with as little said as the test needs."""

from __future__ import annotations

from chatsvc.core.record import Draft, Record, accept
from testkit import records


def draft(
    content: str = "hello",
    *,
    sender: str = "alice",
    to: tuple[str, ...] = ("bob",),
    origin: str = "phone",
    client_id: str | None = None,
) -> Draft:
    """A message of ``sender`` to ``to`` and itself."""
    return records.draft(
        content, to=(sender, *to), sender=sender, origin=origin, client_id=client_id
    )


def record(
    record_id: int,
    content: str = "hello",
    *,
    sender: str = "alice",
    to: tuple[str, ...] = ("bob",),
    origin: str = "phone",
    client_id: str | None = None,
) -> Record:
    """The same, accepted under an id."""
    made = draft(content, sender=sender, to=to, origin=origin, client_id=client_id)
    return accept(made, record_id)
