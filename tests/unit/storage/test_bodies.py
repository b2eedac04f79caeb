"""A store tells what it can keep from what it never can, and one record from another."""

from __future__ import annotations

import pytest

from chatsvc.core.record import Record
from chatsvc.storage.bodies import conflicting, partition_records, sameness
from testkit.records import other_kind, record, with_body

OTHER_KIND = (other_kind(2), "unknown_kind", "kind 'reaction'")
NO_JSON = (with_body(record(2), b'{"a"'), "unreadable_body", "not a JSON object")
NO_OBJECT = (with_body(record(2), b"[1]"), "unreadable_body", "not a JSON object")
NO_LIST = (with_body(record(2), b'{"participants":"alice"}'), "unreadable_body", "not a list")
NO_NAMES = (with_body(record(2), b'{"participants":[1]}'), "unreadable_body", "not a list")


@pytest.mark.parametrize(
    ("refused", "code", "reason"), [OTHER_KIND, NO_JSON, NO_OBJECT, NO_LIST, NO_NAMES]
)
def test_what_cannot_be_kept_has_a_code_and_a_reason_and_stops_nothing(
    refused: Record, code: str, reason: str
) -> None:
    decoded, rejections = partition_records([record(1), refused, record(3)])
    assert [one for one, _ in decoded] == [record(1), record(3)]
    assert [body["content"] for _, body in decoded] == ["message 1", "message 3"]
    ((rejected, found_code, found_reason),) = rejections
    assert (rejected, found_code) == (refused, code)
    assert reason in found_reason


def test_another_client_id_makes_another_record() -> None:
    """The digest covers the content and the metadata, and nothing else."""
    plain, named, other = (record(1, "same", client_id=key) for key in (None, "a", "b"))
    assert plain.digest == named.digest == other.digest
    assert len({sameness(plain), sameness(named), sameness(other)}) == 3
    assert sameness(named) == sameness(record(1, "same", client_id="a"))


def test_a_taken_id_is_told_with_a_reason() -> None:
    rejection = conflicting(record(1))
    assert (rejection.record, rejection.code) == (record(1), "digest_conflict")
    assert "another message under this id" in rejection.reason
