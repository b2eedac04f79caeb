"""Drafts and records for tests, with as little said as the test needs."""

from __future__ import annotations

from chatsvc.core.message import draft_message
from chatsvc.core.participants import channel_key, normalize_participants
from chatsvc.core.record import Draft, Record, accept


def draft(
    content: str = "hello",
    *,
    sender: str = "alice",
    to: tuple[str, ...] = ("bob",),
    origin: str = "phone",
    client_id: str | None = None,
) -> Draft:
    """A message of ``sender`` to ``to`` and itself."""
    participants = normalize_participants([sender, *to])
    return draft_message(
        channel=channel_key(participants),
        participants=participants,
        sender=sender,
        content=content,
        origin=origin,
        client_id=client_id,
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
