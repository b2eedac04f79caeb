from __future__ import annotations

from typing import Any

import pytest

from chatsvc.client import Change
from demo_cli.changes import change_line


def change(kind: str, sender: str = "alice", **fields: Any) -> Change:
    return Change(
        kind=kind,
        id="0" * 16,
        channel=",g:" + "0" * 32,
        sender=sender,
        created_at="",
        fields=fields,
    )


@pytest.mark.parametrize(
    ("fields", "name", "line"),
    [
        (
            {"change": "created", "name": "Readers", "users": ["alice", "bob", "carol"]},
            None,
            "alice created Readers with bob, carol.",
        ),
        ({"change": "created", "name": "Readers"}, None, "alice created Readers."),
        ({"change": "updated", "name": "Writers"}, "Readers", "alice renamed Readers to Writers."),
        ({"change": "updated", "name": "Readers"}, "Readers", "alice changed Readers."),
        ({"change": "updated", "name": "Readers"}, None, "alice changed Readers."),
        (
            {"change": "links", "name": "Readers"},
            "Readers",
            "alice changed the invite links of Readers.",
        ),
        ({"change": "links"}, None, "alice changed the invite links of a group."),
        ({"change": "deleted", "name": "Readers"}, "Readers", "alice deleted Readers."),
        ({"change": "of a newer server"}, None, "alice changed a group."),
    ],
)
def test_what_was_done_to_a_group(fields: dict[str, Any], name: str | None, line: str) -> None:
    assert change_line(change("group", **fields), name) == line


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"change": "added", "users": ["bob", "carol"]}, "alice added bob, carol to Readers."),
        ({"change": "joined", "users": ["bob", "carol"]}, "bob, carol joined Readers."),
        ({"change": "removed", "users": ["bob"]}, "alice removed bob from Readers."),
        ({"change": "banned", "users": ["bob"]}, "alice banned bob from Readers."),
        ({"change": "unbanned", "users": ["bob"]}, "alice unbanned bob from Readers."),
        ({"change": "left", "users": ["alice"]}, "alice left Readers."),
        (
            {"change": "left", "users": ["alice"], "promoted": "bob"},
            "alice left Readers. bob is an admin now.",
        ),
        (
            {"change": "role", "users": ["bob"], "role": "moderator"},
            "alice made bob a moderator of Readers.",
        ),
        (
            {"change": "role", "users": ["bob"], "role": "owner"},
            "alice made bob owner of Readers.",
        ),
        ({"change": ["of"], "users": "a newer server"}, "alice changed Readers."),
        ({}, "alice changed Readers."),
    ],
)
def test_what_was_done_to_memberships(fields: dict[str, Any], line: str) -> None:
    assert change_line(change("membership", **fields), "Readers") == line


def test_a_group_whose_name_is_not_known() -> None:
    one = change("membership", change="removed", users=["bob"])
    assert change_line(one, None) == "alice removed bob from a group."


def test_names_are_escaped() -> None:
    one = change("membership", "al\u202eice", change="added", users=["b\x1b[2Job", 5])
    assert change_line(one, "Re\u200daders") == "al\\u202eice added b\\x1b[2Job to Re\\u200daders."
