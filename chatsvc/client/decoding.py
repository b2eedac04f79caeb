"""Decoding what a server sends, no more strictly than ``docs/versioning.md`` promises.

A newer server may add members, values and types. What this version does not know is left
out; what it needs and does not find is an error that the caller decides about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T", bound=msgspec.Struct)


def tolerant(kind: type[_T]) -> Callable[[bytes], _T]:
    """Make a decoder of JSON objects into ``kind``.

    A member that is not known is ignored. One that is known and has another type than
    this version expects counts as absent: its default is taken where it has one.

    The decoder raises:
        msgspec.DecodeError: not JSON, not an object, nested too deep to be read, or
            without a member that has no default.
    """
    decode = msgspec.json.Decoder(kind).decode
    fields = {
        field.encode_name: (field.name, msgspec.json.Decoder(field.type).decode)
        for field in msgspec.structs.fields(kind)
    }

    def read(data: bytes) -> _T:
        try:
            try:
                return decode(data)
            except msgspec.ValidationError:
                return member_by_member(data)
        except RecursionError:
            raise msgspec.DecodeError("the JSON is nested too deep") from None
        except UnicodeDecodeError as exc:
            raise msgspec.DecodeError(f"the JSON is not UTF-8: {exc}") from None

    def member_by_member(data: bytes) -> _T:
        values: dict[str, Any] = {}
        for name, value in _decode_object(data).items():
            if name in fields:
                attribute, decode_member = fields[name]
                try:
                    values[attribute] = decode_member(value)
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                    continue
        try:
            return kind(**values)
        except TypeError as exc:  # without one that has no default
            raise msgspec.ValidationError(f"not a {kind.__name__}: {exc}") from None

    return read


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
