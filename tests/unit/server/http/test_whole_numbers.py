"""An integer may be written as any number without a fraction, as JSON Schema has it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chatsvc.core.errors import Invalid, Malformed
from chatsvc.server.http.decoding import body_decoder


class Numbers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Some."""

    a: int = 0
    b: int | None = None
    more: dict[str, Any] = {}


read = body_decoder(Numbers)


def test_it_is_read_as_it_is_meant() -> None:
    assert read(b'{"a":1.0,"b":2e3}') == Numbers(a=1, b=2000)
    assert read(b'{"a":1,"more":{"x":[1.0,1.5]}}') == Numbers(a=1, more={"x": [1.0, 1.5]})


@pytest.mark.parametrize("body", [b'{"a":1.5}', b'{"b":1e400}', b'{"a":1.0,"c":1}'])
def test_what_is_none_is_refused(body: bytes) -> None:
    with pytest.raises((Invalid, Malformed)):
        read(body)


def test_depth_is_refused_as_ever() -> None:
    deep = b"[" * 5000 + b"]" * 5000
    with pytest.raises(Malformed):
        read(b'{"a":1.0,"more":{"x":' + deep + b"}}")
