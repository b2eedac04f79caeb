"""What a store notes of client ids beside the records and the dead letters."""

from __future__ import annotations

from typing import NamedTuple

from chatsvc.core.ids import id_ms, uuid7_ms
from chatsvc.core.record import Record
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.storage.letter_records import record_of
from chatsvc.storage.ports.client_ids import ClientIdAt
from chatsvc.storage.ports.dead_letters import DeadLetter


def listed_above_ms(newest_ms: int, since_ms: int) -> int:
    """Ids minted later than this are asked for, in Unix milliseconds; 0 for an empty store."""
    return min(newest_ms, since_ms) + AHEAD_MS if newest_ms else 0


class LetterKey(NamedTuple):
    """Under which key a dead letter was accepted; ``None`` throughout if under none."""

    sender: str | None = None
    channel: str | None = None
    client_id: str | None = None
    digest: bytes | None = None
    minted_ahead_ms: int | None = None


class RequestId(NamedTuple):
    """The key of one of the requests that became a record, in the record's channel."""

    sender: str
    client_id: str
    digest: bytes
    minted_ahead_ms: int | None


def minted_ahead_ms(record: Record) -> int | None:
    """When the record's ``client_id`` was minted, if by a clock ahead of the log's.

    In Unix milliseconds; ``None`` unless the ``client_id`` is a UUIDv7 of a time more than
    :data:`~chatsvc.log.key_bounds.AHEAD_MS` after the record's own. All others were minted
    no later than the id of the record tells.
    """
    return None if record.client_id is None else _minted_ahead_ms(record.client_id, record.id)


def _minted_ahead_ms(client_id: str, record_id: int) -> int | None:
    minted_ms = uuid7_ms(client_id)
    if minted_ms is None or minted_ms <= id_ms(record_id) + AHEAD_MS:
        return None
    return minted_ms


def requests_in(record: Record) -> list[RequestId]:
    """The requests that became this record, each key once: as the log has it, by its last."""
    return [
        RequestId(sender, client_id, digest, _minted_ahead_ms(client_id, record.id))
        for (sender, client_id), digest in {
            (one.sender, one.client_id): one.digest for one in record.keys
        }.items()
    ]


def letter_key(letter: DeadLetter) -> LetterKey:
    """The key in a dead letter's bytes. Bytes that are no record (of this version) have none."""
    record = record_of(letter)
    if record is None or record.client_id is None:
        return LetterKey()
    return LetterKey(
        record.sender, record.channel, record.client_id, record.digest, minted_ahead_ms(record)
    )


def client_ids_of(record: Record) -> list[ClientIdAt]:
    """What a record was sent under, ``None`` too, and the requests that became it."""
    own = ClientIdAt(record.id, record.sender, record.client_id)
    return [own, *(ClientIdAt(record.id, one.sender, one.client_id) for one in record.keys)]
