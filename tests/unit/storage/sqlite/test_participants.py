"""Bodies are kept without their participants, and read as they were written."""

from __future__ import annotations

import json

import msgspec
import pytest

from chatsvc.storage.sqlite.participants import (
    cut_body,
    encode_participants,
    participants_in,
    whole_body,
)
from testkit.records import record

USERS = ("alice", "bob", 'zoë "quoted"')


def test_what_the_service_writes_is_kept_without_its_participants() -> None:
    one = record(1, to=USERS, metadata={"participants": list(USERS)})
    encoded = encode_participants(one.audience)
    cut, kept = cut_body(one.body, encoded)
    assert cut is not None
    assert len(kept) == len(one.body) - len(b',"participants":') - len(encoded)
    assert "participants" not in msgspec.json.decode(kept)
    people = participants_in(encoded)
    assert people.users == one.audience
    assert whole_body(cut, kept, people.member) == one.body


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"participant":["alice","bob"]}',
        b'{"participants":["alice","bob"],"type":"message"}',
        b'{"type":"message","participants":["bob","alice"]}',
        b'{"type":"message","participants":["alice", "bob"]}',
        b'{"type":"message", "participants":["alice","bob"]}',
        b'{"type":"message","participants":["alice"],"x":["alice","bob"]}',
        b'{"type":"message","participants":["alice","bob","carol"]}',
        b'{"content":",\\"participants\\":[\\"alice\\",\\"bob\\"]"}',
        b'{"a":{"b":1,"participants":["x"]},"participants":["alice","bob"]}',
    ],
)
def test_any_other_body_is_kept_whole(body: bytes) -> None:
    encoded = encode_participants(("alice", "bob"))
    assert cut_body(body, encoded) == (None, body)
    assert whole_body(None, body, b"?") == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"message","participants":["alice","bob"]}',
        b'{"a":{"b":1,"participants":["alice","bob"]},"participants":["alice","bob"]}',
        b'{"a":1,"participants":["alice","bob"],"participants":["alice","bob"]}',
    ],
)
def test_what_is_cut_is_put_back_where_it_was(body: bytes) -> None:
    encoded = encode_participants(("alice", "bob"))
    cut, kept = cut_body(body, encoded)
    assert json.loads(kept)
    assert len(kept) < len(body)
    assert whole_body(cut, kept, participants_in(encoded).member) == body
