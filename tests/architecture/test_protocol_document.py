"""``docs/protocol.md`` says what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from chatsvc.app.features import declared_features
from chatsvc.core.limits import Limits
from chatsvc.features.groups.model import Group
from chatsvc.features.groups.records import GroupFrame, InvitationFrame, MembershipFrame
from chatsvc.features.messages.model import Message, MessagePage
from chatsvc.server.errors import STATUS, Problem
from chatsvc.wire import close_codes, protocol

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text("utf-8")
FEATURES = declared_features(Limits())
COMMANDS = [one for feature in FEATURES for one in feature.commands if one.request != protocol.Send]
FEATURE_FRAMES: tuple[Any, ...] = (
    *(frame for feature in FEATURES for frame in feature.frames if frame != Message),
    *(answer for command in COMMANDS for answer in command.answers),
)
EXAMPLES: list[Any] = [
    json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", TEXT, re.M | re.S)
]


def section(title: str) -> str:
    """From a heading to the next of its level or above."""
    match = re.search(rf"^(#+) {re.escape(title)}\n", TEXT, re.M)
    assert match, title
    rest = TEXT[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


def frames_of(structs: Iterable[Any]) -> dict[str, set[str]]:
    """Type → fields as they are called on the wire."""
    return {
        str(struct.__struct_config__.tag): {
            field.encode_name for field in msgspec.structs.fields(struct)
        }
        for struct in structs
    }


def documented_frames(title: str) -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section(title), re.M)
    return {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows}


@pytest.mark.parametrize(
    ("title", "structs"),
    [
        (
            "From the client",
            (*get_args(protocol.ClientFrame), *(command.request for command in COMMANDS)),
        ),
        ("From the server", (*get_args(protocol.ServerFrame), *FEATURE_FRAMES)),
    ],
)
def test_every_frame_is_documented_with_its_fields(title: str, structs: Iterable[Any]) -> None:
    documented = documented_frames(title)
    known = frames_of(structs)
    documented.pop("message", None)  # held by the test of examples, as hello is
    known.pop("hello", None)
    assert documented == known


def test_the_documented_hello_is_one() -> None:
    (hello,) = [example for example in EXAMPLES if _type(example) == "hello"]
    assert set(hello) - {"type"} == frames_of([protocol.Hello])["hello"]
    msgspec.convert(hello, protocol.Hello)


def test_the_documented_message_problem_and_send_are_such() -> None:
    (message,) = [example for example in EXAMPLES if _type(example) == "message"]
    assert set(message) == {field.encode_name for field in msgspec.structs.fields(Message)}
    msgspec.convert(message, Message)
    (problem,) = [example for example in EXAMPLES if _type(example) == "about:blank"]
    assert set(problem) == {field.encode_name for field in msgspec.structs.fields(Problem)}
    msgspec.convert(problem, Problem)
    (send,) = [example for example in EXAMPLES if _type(example) == "send"]
    msgspec.convert(send, protocol.Send)


def test_the_documented_group_and_its_frames_are_such() -> None:
    (group,) = [example for example in EXAMPLES if "rev" in example]
    assert set(group) == {field.encode_name for field in msgspec.structs.fields(Group)}
    msgspec.convert(group, Group)
    frames = (GroupFrame, set()), (InvitationFrame, set()), (MembershipFrame, {"promoted"})
    for struct, absent in frames:
        ((kind, fields),) = frames_of([struct]).items()
        (frame,) = [example for example in EXAMPLES if _type(example) == kind]
        assert set(frame) - {"type"} == fields - absent
        msgspec.convert(frame, struct)


def test_a_page_is_documented_with_its_members() -> None:
    page = re.search(r"A page is `\{(.*?)\}`", TEXT)
    assert page
    assert set(re.findall(r'"(\w+)"', page[1])) == {
        field.encode_name for field in msgspec.structs.fields(MessagePage)
    }


def test_every_close_code_is_documented() -> None:
    codes = {
        value for name, value in vars(close_codes).items() if name.isupper() and type(value) is int
    }
    documented = {int(code) for code in re.findall(r"\b(\d{4})\b", section("Close codes"))}
    assert codes <= documented


def test_every_status_a_client_can_meet_in_earnest_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"\b([45]\d\d)\b", section("Errors"))}
    # The parser's own about request lines, headers and Expect need no advice.
    assert set(STATUS.values()) - {408, 414, 417, 431} <= documented


def _type(example: Any) -> str | None:
    return example.get("type") if isinstance(example, dict) else None
