"""The bounds in force, as ``/openapi.json`` names them."""

from __future__ import annotations

from typing import Any

import msgspec

from chatsvc_conformance.contracts import contract
from chatsvc_conformance.http import Api


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a message that a server may be set to; characters are code points."""

    participants: int
    user_id_characters: int
    content_characters: int


async def bounds_in_force(api: Api) -> Bounds:
    """What the server's schema of ``POST /api/messages`` says; the published where it is silent."""
    published = _named(contract("openapi.json"))
    answer = await api.call("GET", "/openapi.json")
    if answer.status != 200:
        return Bounds(**published)
    try:
        named = _named(msgspec.json.decode(answer.body))
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return Bounds(**published)
    return Bounds(**(published | named))


def _named(document: Any) -> dict[str, int]:
    """The bounds that a document names."""
    schema = _resolved(
        document,
        document["paths"]["/api/messages"]["post"]["requestBody"]["content"]["application/json"][
            "schema"
        ],
    )
    fields = schema["properties"]
    participants, content = fields["participants"], fields["content"]
    found = {
        "participants": participants.get("maxItems"),
        "user_id_characters": participants.get("items", {}).get("maxLength"),
        "content_characters": content.get("maxLength"),
    }
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _resolved(document: Any, schema: Any) -> Any:
    """Follow a reference within the document (RFC 6901 in a fragment)."""
    while "$ref" in schema:
        found = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        schema = found
    return schema
