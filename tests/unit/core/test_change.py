"""Changes as the log takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatsvc.core.change import draft_change
from chatsvc.core.kinds import Kind
from chatsvc.core.membership import THIS_RECORD, Member, StateChange
from chatsvc.core.message import MESSAGE
from chatsvc.core.record import Draft, accept

EDIT = Kind(name="edit")


def drafted(**more: Any) -> Draft:
    options: dict[str, Any] = {
        "channel": "alice,bob",
        "audience": ("alice", "bob"),
        "sender": "alice",
        "fields": {"text": "new", "of": "x"},
    }
    return draft_change(options.pop("kind", EDIT), **(options | more))


def test_its_frame_has_what_every_record_has_and_its_own_fields() -> None:
    body = json.loads(accept(drafted(client_id="c", target="t", origin="phone"), 1 << 16).body)
    assert body.pop("created_at").startswith("1970-01-01T00:00:00")
    assert body == {
        "type": "edit",
        "id": f"{1 << 16:016x}",
        "channel": "alice,bob",
        "sender": "alice",
        "text": "new",
        "of": "x",
        "client_id": "c",
    }
    assert drafted(target="t").target == "t"
    assert drafted(origin="phone").origin == "phone"


def test_a_retry_has_the_same_digest_whatever_the_order_of_its_fields() -> None:
    again = drafted(fields={"of": "x", "text": "new"})
    assert again.digest == drafted().digest
    assert len(again.digest) == 16
    others = (
        drafted(fields={"text": "other", "of": "x"}),
        drafted(target="t"),
        draft_change(
            Kind(name="note"),
            channel="alice,bob",
            audience=("alice", "bob"),
            sender="alice",
            fields={"text": "new", "of": "x"},
        ),
    )
    assert len({one.digest for one in (again, *others)}) == 4


def test_a_retry_has_the_same_body_whatever_the_order_of_its_fields() -> None:
    first = drafted(fields={"text": "new", "of": {"b": 1, "a": [{"d": 1, "c": 2}]}}, client_id="k")
    again = drafted(fields={"of": {"a": [{"c": 2, "d": 1}], "b": 1}, "text": "new"}, client_id="k")
    assert (again.digest, again.rest) == (first.digest, first.rest)
    assert json.loads(first.rest)["of"] == {"b": 1, "a": [{"d": 1, "c": 2}]}
    assert json.loads(drafted(fields={}).rest) == {"channel": "alice,bob", "sender": "alice"}


def test_a_message_is_no_change() -> None:
    with pytest.raises(ValueError, match="'message' must not count"):
        draft_change(MESSAGE, channel="a", audience=("a",), sender="a", fields={})


@pytest.mark.parametrize("name", ["type", "id", "created_at", "channel", "sender", "client_id"])
def test_a_field_must_not_hide_what_every_record_has(name: str) -> None:
    with pytest.raises(ValueError, match=f"must not be named {name}"):
        drafted(fields={name: "x"})


@pytest.mark.parametrize("audience", [("alice",), ("bob", "alice"), ("alice", "bob", "carol")])
def test_a_change_is_for_all_participants_of_its_conversation(audience: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="must be the participants of the channel"):
        drafted(audience=audience)


JOINED = Member("alice", THIS_RECORD)
ENDED = Member("alice", 1 << 40, left=1 << 41)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ((ENDED, ENDED), "must change a membership at most once"),
        ((JOINED, Member("alice", 1 << 50)), "one membership of a person that went on"),
    ],
)
def test_a_record_says_once_what_becomes_of_a_person(
    members: tuple[Member, ...], text: str
) -> None:
    def of(*rows: Member) -> Draft:
        return draft_change(
            Kind(name="membership", blockable=False),
            channel=",g:team",
            audience=(),
            sender="alice",
            fields={},
            state=StateChange(rows),
        )

    assert of(ENDED, JOINED).state == StateChange((ENDED, JOINED))
    never = Member("alice", 0, left=THIS_RECORD)  # a row that says no more: no membership
    assert of(never, JOINED).state == StateChange((never, JOINED))
    with pytest.raises(ValueError, match=text):
        of(*members)
