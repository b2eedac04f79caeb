"""What is noted of client ids beside the messages and the dead letters."""

from __future__ import annotations

import pytest

from chatsvc.core.ids import id_ms
from chatsvc.core.record import Record, pack
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.storage.client_ids import LetterKey, letter_key, minted_ahead_ms
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit.client_ids import uuid7_at
from testkit.records import record

BOUND = id_ms(record(1).id) + AHEAD_MS


@pytest.mark.parametrize(
    ("client_id", "noted"),
    [
        (None, None),
        ("no uuid", None),
        (uuid7_at(BOUND - 1), None),
        (uuid7_at(BOUND), None),
        (uuid7_at(BOUND + 1), BOUND + 1),
    ],
)
def test_only_a_clock_far_ahead_is_noted(client_id: str | None, noted: int | None) -> None:
    assert minted_ahead_ms(record(1, client_id=client_id)) == noted


def letter(one: Record) -> DeadLetter:
    return DeadLetter(one.id, "code", "reason", 1, pack(one))


def test_a_letter_has_the_key_that_its_record_was_accepted_under() -> None:
    plain = record(1, client_id="k")
    assert letter_key(letter(plain)) == ("alice", "alice,bob", "k", plain.digest, None)
    ahead = record(1, client_id=uuid7_at(BOUND + 1))
    assert letter_key(letter(ahead)).minted_ahead_ms == BOUND + 1


def test_a_letter_without_a_client_id_or_of_bytes_that_are_no_record_has_no_key() -> None:
    none = LetterKey(None, None, None, None, None)
    assert letter_key(letter(record(1))) == none
    for data in (b"\xffnot a record", b"\x91\x63"):
        assert letter_key(letter(record(1))._replace(data=data)) == none
