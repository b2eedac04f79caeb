"""Bounds of what is said, and the digest that tells a retry from another message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core import message
from chatsvc.core.errors import Invalid
from chatsvc.core.message import (
    check_client_id,
    check_content,
    check_device,
    check_metadata,
    content_digest,
    draft_message,
)
from chatsvc.core.record import accept

SCALAR = st.none() | st.booleans() | st.integers() | st.text(max_size=10)
METADATA = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
    ),
    max_size=5,
)


def code_of(call: Any, *args: Any, **kwargs: Any) -> tuple[str, str, int | None]:
    with pytest.raises(Invalid) as raised:
        call(*args, **kwargs)
    error = raised.value.field_errors[0]
    return raised.value.code, error.pointer, error.limit


def test_content_has_1_to_16000_characters_and_no_nul() -> None:
    check_content("x")
    check_content("\U0001f600" * 16_000)
    assert code_of(check_content, "") == ("too_short", "/content", 1)
    assert code_of(check_content, "x" * 16_001) == ("too_long", "/content", 16_000)
    assert code_of(check_content, "a\0b") == ("nul", "/content", None)
    assert code_of(check_content, "abc", max_length=2) == ("too_long", "/content", 2)


def nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for level in range(depth):
        value = {"k": value} if level % 2 or level == depth - 1 else [value]
    assert isinstance(value, dict)
    return value


def test_metadata_nests_at_most_5_deep() -> None:
    check_metadata(nested(5))
    assert code_of(check_metadata, nested(6)) == ("too_deep", "/metadata", 5)
    check_metadata({"a": {}, "b": []}, max_depth=2)
    assert code_of(check_metadata, {"a": [[]]}, max_depth=2) == ("too_deep", "/metadata", 2)


def test_metadata_is_measured_before_it_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[object] = []
    depth = message._depth

    def note(value: object, limit: int) -> int:
        walked.append(value)
        return depth(value, limit)

    monkeypatch.setattr(message, "_depth", note)
    wide = {"a": [[] for _ in range(80_000)]}
    assert code_of(check_metadata, wide) == ("too_long", "/metadata", 4096)
    assert walked == []
    assert code_of(check_metadata, nested(6))[0] == "too_deep"
    assert len(walked) == 1


def test_very_deep_metadata_is_refused_without_recursion() -> None:
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    assert code_of(check_metadata, {"a": deep})[0] == "too_deep"


def test_metadata_has_at_most_4096_bytes_as_compact_json() -> None:
    frame = len(b'{"k":""}')
    check_metadata({"k": "x" * (4096 - frame)})
    assert code_of(check_metadata, {"k": "x" * (4097 - frame)}) == ("too_long", "/metadata", 4096)
    assert code_of(check_metadata, {"k": "é" * 2045})[0] == "too_long", "bytes, not characters"
    check_metadata({"k": "é" * 2044})


@pytest.mark.parametrize("text", ["a", "~" * 64, " ", "018f3e2a-1c2d-7abc-8def-0123456789ab"])
def test_good_client_ids(text: str) -> None:
    check_client_id(text)


@pytest.mark.parametrize("text", ["", "a" * 65, "é", "a\n", "a\tb", "\x7f"])
def test_bad_client_ids(text: str) -> None:
    assert code_of(check_client_id, text) == ("bad_client_id", "/client_id", 64)


@pytest.mark.parametrize("text", ["a", "A-z_9", "x" * 64])
def test_good_devices(text: str) -> None:
    check_device(text)


@pytest.mark.parametrize("text", ["", "a" * 65, "a b", "é", "a\n", "a/b"])
def test_bad_devices(text: str) -> None:
    assert code_of(check_device, text) == ("bad_device", "/device", 64)


@given(st.text(min_size=1, max_size=20), METADATA)
def test_the_digest_is_independent_of_the_order_of_keys(
    content: str, metadata: dict[str, Any]
) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(list(value))}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert content_digest(content, metadata) == content_digest(content, turned(metadata))


def test_the_digest_tells_contents_apart() -> None:
    digests = [
        content_digest("a", None),
        content_digest("b", None),
        content_digest("a", {}),
        content_digest("a", {"k": 1}),
        content_digest("a", {"k": "1"}),
        content_digest("a", {"k": [1, 2]}),
        content_digest("a", {"k": [2, 1]}),
    ]
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {16}


@given(
    st.text(min_size=1, max_size=50).filter(lambda text: "\0" not in text),
    st.none() | METADATA,
    st.none() | st.text(alphabet="abc-", min_size=1, max_size=10),
)
def test_the_body_is_the_message_and_nothing_else(
    content: str, metadata: dict[str, Any] | None, client_id: str | None
) -> None:
    draft = draft_message(
        channel="alice,bob",
        participants=("alice", "bob"),
        sender="alice",
        content=content,
        origin="phone",
        client_id=client_id,
        metadata=metadata,
    )
    body = msgspec.json.decode(accept(draft, 0x018F_3E2A_1C2D_0040).body)
    expected = {
        "type": "message",
        "id": "018f3e2a1c2d0040",
        "created_at": "2024-05-03T11:14:58.221Z",
        "channel": "alice,bob",
        "sender": "alice",
        "content": content,
        "participants": ["alice", "bob"],
    }
    if client_id is not None:
        expected["client_id"] = client_id
    if metadata is not None:
        expected["metadata"] = metadata
    assert body == expected
    assert draft.audience == ("alice", "bob")
    assert draft.key == (None if client_id is None else ("alice", "alice,bob", client_id))
