"""What is known of client ids from records in memory."""

from __future__ import annotations

from collections.abc import Iterable

from chatsvc.core.record import Record
from chatsvc.storage.client_ids import minted_ahead_ms, requests_in


def first_use(
    records: Iterable[Record], key: tuple[str, str, str], after: int
) -> tuple[int, bytes] | None:
    """Id and digest of the first record under a key (sender, channel, ``client_id``)."""
    sender, channel, client_id = key
    found: list[tuple[int, bytes]] = []
    for record in records:
        if record.channel != channel or record.id <= after:
            continue
        uses = [(record.sender, record.client_id, record.digest)]
        uses += [(one.sender, one.client_id, one.digest) for one in requests_in(record)]
        found += [(record.id, use[2]) for use in uses if use[:2] == (sender, client_id)]
    return min(found, default=None)


def latest_ahead(records: Iterable[Record], bound_ms: int) -> dict[str, int]:
    """The latest time after a bound at which an id of each sender was minted ahead, in Unix ms."""
    latest: dict[str, int] = {}
    for record in records:
        uses = [(record.sender, minted_ahead_ms(record))]
        uses += [(one.sender, one.minted_ahead_ms) for one in requests_in(record)]
        for sender, minted_ms in uses:
            if minted_ms is not None and minted_ms > bound_ms:
                latest[sender] = max(minted_ms, latest.get(sender, 0))
    return latest
