from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.client.decoding import TolerantDecoder


class Form(msgspec.Struct):
    name: str
    renamed: int = msgspec.field(default=1, name="from")
    many: list[msgspec.Raw] = []
    maybe: float | None = None


def read(data: bytes) -> Form:
    return TolerantDecoder(Form)(data)


def test_members_that_are_not_known_are_ignored() -> None:
    assert read(b'{"name":"a","from":2,"new":{"deep":[1,{"er":null}]}}') == Form("a", 2)


@pytest.mark.parametrize(
    "member",
    ['"from":"2"', '"from":2.5', '"from":null', '"many":{}', '"maybe":"1"', '"maybe":1e999'],
)
def test_a_member_of_another_type_counts_as_absent(member: str) -> None:
    assert read(b'{"name":"a",%s}' % member.encode()) == Form("a")


def test_the_others_are_kept() -> None:
    data = b'{"name":"a","from":"2","many":[1,{}],"maybe":1.5}'
    assert read(data) == Form("a", 1, [msgspec.Raw(b"1"), msgspec.Raw(b"{}")], 1.5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b'{"name":7}',
        b'{"name":"\xff"}',
        b'{"name":7,"\xff":1}',
        b'{"name":7,"new":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"name":"a","new":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"name":"\\ud800"}',
    ],
)
def test_what_cannot_be_read_is_one_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"name":"a","new":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'{"name":"\xff"}', "not UTF-8"),
        (b'{"name":7}', "not a Form"),
    ],
    ids=["depth", "bytes", "members"],
)
def test_the_error_says_what_is_wrong(data: bytes, told: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=told):
        read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.text(), st.dictionaries(st.sampled_from(["from", "many", "maybe", "x"]) | st.text(), JSON)
)
def test_whatever_else_there_is_the_required_member_is_read(
    name: str, more: dict[str, Any]
) -> None:
    data = json.dumps(more | {"name": name}).encode()
    try:
        assert read(data).name == name
    except msgspec.DecodeError:
        # JSON of Python's own: NaN, lone surrogates.
        assert b"NaN" in data or b"Infinity" in data or b"\\ud" in data


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        read(data)
    except msgspec.DecodeError:
        return
