"""What ``contracts/`` of the repository says: the documents and the vectors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "array": list,
}
"""The types of JSON Schema that members of frames have."""
_PACKAGE: Final = Path(__file__).resolve().parent


@cache
def contract(name: str) -> Any:
    """The value of a file, such as ``openapi.json`` or ``vectors/cursors.json``."""
    return msgspec.json.decode((_folder() / name).read_bytes())


def _folder() -> Path:
    """Within the package where it is installed; in a working copy of the repository, its own."""
    installed = _PACKAGE / "contracts"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "contracts"


def close_code(name: str) -> int:
    """The close code of this name.

    Raises:
        LookupError: no case of the vectors has it.
    """
    codes: dict[str, int] = {
        case["name"]: case["code"] for case in contract("vectors/close_codes.json")["cases"]
    }
    return codes[name]


def required_members(frame: str) -> dict[str, type | tuple[type, ...]]:
    """The members that every frame of this name in ``asyncapi.json`` has, with their types."""
    schema = contract("asyncapi.json")["components"]["schemas"][frame]
    properties = schema["properties"]
    return {name: _TYPES[properties[name]["type"]] for name in schema["required"] if name != "type"}
