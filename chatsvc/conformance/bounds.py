"""The bounds in force, as ``/openapi.json`` names them."""

from __future__ import annotations

from typing import Any

import msgspec

from chatsvc.conformance.http import Api
from chatsvc.core.limits import Limits


async def bounds_in_force(api: Api) -> Limits:
    """What the schema of ``POST /api/messages`` says; the defaults where it says nothing."""
    answer = await api.call("GET", "/openapi.json")
    if answer.status != 200:
        return Limits()
    try:
        document = msgspec.json.decode(answer.body)
        schema = _resolved(
            document,
            document["paths"]["/api/messages"]["post"]["requestBody"]["content"][
                "application/json"
            ]["schema"],
        )
        fields = schema["properties"]
        participants, content = fields["participants"], fields["content"]
        found = {
            "participants": participants.get("maxItems"),
            "user_id_characters": participants.get("items", {}).get("maxLength"),
            "content_characters": content.get("maxLength"),
        }
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return Limits()
    return Limits(**{name: value for name, value in found.items() if isinstance(value, int)})


def _resolved(document: Any, schema: Any) -> Any:
    """Follow a reference within the document (RFC 6901 in a fragment)."""
    while "$ref" in schema:
        found = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        schema = found
    return schema
