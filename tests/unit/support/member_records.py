"""Records of groups and rooms, as the log would have accepted them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatsvc.core.change import draft_change
from chatsvc.core.ids import STEP
from chatsvc.core.kinds import Kind
from chatsvc.core.message import draft_message
from chatsvc.core.record import Draft, Record, accept
from testkit.records import START

GROUP = ",g:team"


def group_draft(
    content: str = "hello",
    *,
    channel: str = GROUP,
    to: Sequence[str] = (),
    kind: str = "message",
    sender: str = "alice",
    client_id: str | None = None,
) -> Draft:
    """A record for the members of a channel, or for those of ``to`` alone."""
    audience = tuple(sorted(to))
    if kind != "message":
        return draft_change(
            Kind(name=kind),
            channel=channel,
            audience=audience,
            sender=sender,
            fields={"text": content},
            client_id=client_id,
        )
    draft = draft_message(
        channel=channel,
        participants=(),
        sender=sender,
        content=content,
        origin="laptop",
        client_id=client_id,
    )
    return msgspec.structs.replace(draft, audience=audience)


def group_record(number: int, content: str | None = None, **options: object) -> Record:
    """The ``number``-th of the log; see :func:`group_draft`."""
    text = f"message {number}" if content is None else content
    return accept(group_draft(text, **options), START + number * STEP)  # type: ignore[arg-type]
