"""Decoding what a server sends, no more strictly than ``docs/versioning.md`` promises.

A newer server may add members, values and types. What this version does not know is left
out; what it needs and does not find is an error that the caller decides about.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

_T = TypeVar("_T", bound=msgspec.Struct)
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_whole: Final = msgspec.json.Decoder(dict[str, Any]).decode


class TolerantDecoder(Generic[_T]):
    """Decodes JSON objects into structs of one type.

    A member that is not known is ignored. One that is known and has another type than
    this version expects counts as absent: its default is taken where it has one.

    Args:
        kind: the struct.
    """

    def __init__(self, kind: type[_T]) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode
        self._fields = {
            field.encode_name: (field.name, msgspec.json.Decoder(field.type).decode)
            for field in msgspec.structs.fields(kind)
        }

    def __call__(self, data: bytes) -> _T:
        """Decode one object.

        Raises:
            msgspec.DecodeError: not JSON, not an object, nested too deep to be read, or
                without a member that has no default.
        """
        try:
            try:
                return self._decode(data)
            except msgspec.ValidationError:
                return self._member_by_member(data)
        except (RecursionError, UnicodeDecodeError) as exc:
            raise _unreadable(exc) from None

    def _member_by_member(self, data: bytes) -> _T:
        values: dict[str, Any] = {}
        for name, value in _decode_members(data).items():
            if name in self._fields:
                attribute, decode = self._fields[name]
                try:
                    values[attribute] = decode(value)
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                    continue  # of another type than this version knows: as good as absent
        try:
            return self._kind(**values)
        except TypeError as exc:  # without one that has no default
            raise msgspec.ValidationError(f"not a {self._kind.__name__}: {exc}") from None


def decode_object(data: bytes) -> dict[str, Any]:
    """Decode one object with all its members, whatever they are.

    Raises:
        msgspec.DecodeError: not JSON, not an object, or nested too deep to be read.
    """
    try:
        return _decode_whole(data)
    except (RecursionError, UnicodeDecodeError) as exc:
        raise _unreadable(exc) from None


def _unreadable(error: RecursionError | UnicodeDecodeError) -> msgspec.DecodeError:
    if isinstance(error, RecursionError):
        return msgspec.DecodeError("the JSON is nested too deep")
    return msgspec.DecodeError(f"the JSON is not UTF-8: {error}")
