"""Where the request of an operation comes from, by its declaration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from chatsvc.api.operation import Operation

WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_VARIABLE: Final = re.compile(r"\{(\w+)\}")


def has_json_body(operation: Operation) -> bool:
    """Return whether the request's struct is decoded from a JSON body."""
    return operation.method in WITH_BODY and operation.stream is None


def path_names(operation: Operation) -> tuple[str, ...]:
    """Return the names of the variable parts of an operation's path."""
    return tuple(_VARIABLE.findall(operation.path))


def routed_path(path: str, others: Iterable[str] = ()) -> str:
    """Return a path for aiohttp's router, whose variable parts would not match braces.

    Args:
        path: as it is declared.
        others: the paths of all operations. A part that one of them names is not a value of a
            variable part there: ``/groups/join`` is no group, whatever its methods are.
    """
    parts = path.split("/")
    routed = []
    for at, part in enumerate(parts):
        words = [
            re.escape(other[at])
            for other in (one.split("/") for one in others)
            if len(other) == len(parts) and not _VARIABLE.search(other[at])
            if other[:at] == parts[:at] and other[at + 1 :] == parts[at + 1 :]
        ]
        excluded = f"(?!(?:{'|'.join(sorted(words))})(?:/|$))" if words else ""
        routed.append(_VARIABLE.sub(rf"{{\1:{excluded}[^/]+}}", part))
    return "/".join(routed)


def check_declaration(operation: Operation) -> None:
    """Check that the members of a declaration that concern path and body fit each other.

    Raises:
        ValueError: they do not; it names the operation.
    """
    name, in_path = f"operation {operation.name!r}", set(path_names(operation))
    request, kind = _fields(operation.request), operation.path_fields
    if not has_json_body(operation):
        if kind is not None or operation.body_optional:
            raise ValueError(f"{name} must not have path_fields or body_optional: no JSON body")
        if not in_path <= set(request):
            raise ValueError(f"{name} must have a field of its request for each name in its path")
        return
    fields = {} if kind is None else _fields(kind)
    if set(fields) != in_path:
        raise ValueError(f"{name} must have path_fields of the names in its path")
    if not all(isinstance(field.type, msgspec.inspect.StrType) for field in fields.values()):
        raise ValueError(f"{name} must have path_fields of type str")
    if not in_path.isdisjoint(request):
        raise ValueError(f"{name} must not have a field in its body and in its path")
    if operation.body_optional and any(field.required for field in request.values()):
        raise ValueError(f"{name} must not require a field of a body that is optional")


def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.inspect.Field]:
    """Return the fields of a struct by their names in JSON."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    return {field.encode_name: field for field in info.fields}
