"""Records as the log would have accepted them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from chatsvc.core.ids import STEP, id_at
from chatsvc.core.kinds import Kind, Kinds
from chatsvc.core.message import MESSAGE, draft_message
from chatsvc.core.participants import channel_key, normalize_participants
from chatsvc.core.record import Draft, Record, accept

MESSAGES_ALONE: Final = frozenset({"message"})
"""The kinds that count."""

KINDS: Final = Kinds(
    [MESSAGE, Kind(name="edit"), Kind(name="reaction"), Kind(name="read", latest=True)]
)
"""Messages, changes, and one of which the newest counts."""

START = id_at(1_795_000_000_000)
"""An id of November 2026."""


def draft(
    content: str = "Hello team!",
    *,
    to: Sequence[str] = ("alice", "bob"),
    sender: str | None = None,
    origin: str = "laptop",
    client_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Draft:
    """A message from the first of ``to``, unless another sends it."""
    participants = normalize_participants(to)
    return draft_message(
        channel=channel_key(participants),
        participants=participants,
        sender=sender or to[0],
        content=content,
        origin=origin,
        client_id=client_id,
        metadata=metadata,
    )


def record(number: int, content: str | None = None, **options: Any) -> Record:
    """The ``number``-th of the log."""
    text = f"message {number}" if content is None else content
    return accept(draft(text, **options), START + number * STEP)


def records(count: int, *, first: int = 1, **options: Any) -> list[Record]:
    """``count`` of them, one after another."""
    return [record(number, **options) for number in range(first, first + count)]


def other_kind(number: int, kind: str = "reaction", to: Sequence[str] = ("alice", "bob")) -> Record:
    """A record of a kind that this program does not know."""
    plain = record(number, to=to)
    return Record(
        id=plain.id,
        kind=kind,
        channel=plain.channel,
        audience=plain.audience,
        sender=plain.sender,
        origin=plain.origin,
        client_id=None,
        digest=plain.digest,
        body=b'{"type":"reaction"}',
    )


def change(
    number: int,
    kind: str = "edit",
    *,
    to: Sequence[str] = ("alice", "bob"),
    sender: str | None = None,
    target: str = "",
    text: str = "x",
    client_id: str | None = None,
) -> Record:
    """The ``number``-th record of the log, of a kind that is no message."""
    participants = normalize_participants(to)
    channel, by = channel_key(participants), sender or to[0]
    rest = {"channel": channel, "sender": by}
    if client_id is not None:
        rest["client_id"] = client_id
    rest |= {"target": target, "text": text}
    return accept(
        Draft(
            kind=kind,
            channel=channel,
            audience=participants,
            sender=by,
            origin="laptop",
            client_id=client_id,
            digest=hashlib.blake2b(text.encode(), digest_size=16).digest(),
            rest=msgspec.json.encode(rest),
            target=target,
        ),
        START + number * STEP,
    )


def with_body(plain: Record, body: bytes) -> Record:
    """The same record around another body."""
    return Record(
        id=plain.id,
        kind=plain.kind,
        channel=plain.channel,
        audience=plain.audience,
        sender=plain.sender,
        origin=plain.origin,
        client_id=plain.client_id,
        digest=plain.digest,
        body=body,
    )
