"""The JSON Schemas of structs, the same for every version of Python."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Final

import msgspec

REF: Final = "#/components/schemas/{name}"


def component_schemas(kinds: Iterable[type[Any]]) -> dict[str, dict[str, Any]]:
    """Return the schemas of these types and of those within them, by name.

    Their descriptions are docstrings, of which Python removes the indentation from 3.13 on.
    """
    _, schemas = msgspec.json.schema_components(list(kinds), ref_template=REF)
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return schemas
