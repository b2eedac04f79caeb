"""The AsyncAPI 3.0 document of the WebSocket, from the structs of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

import msgspec

from chatsvc.api.fields import DEVICE
from chatsvc.core.limits import Limits
from chatsvc.core.message import MAX_CLIENT_ID
from chatsvc.features.messages.model import ONE_CONVERSATION, Message, send_bounds
from chatsvc.server.schema.code_schemas import code_list, code_schema
from chatsvc.wire.error_codes import ErrorCode, frame_codes
from chatsvc.wire.protocol import (
    MAX_REF,
    PROTOCOL_VERSION,
    ClientFrame,
    Error,
    Send,
    ServerFrame,
)

_DESCRIPTION: Final = (
    "One socket receives every conversation of its user. Frames from a client are strict; a "
    "client ignores fields and types of frames that it does not know. The token goes into "
    f"`Authorization: Bearer …`, or for browsers into the subprotocols `{PROTOCOL_VERSION}, "
    "bearer.<jwt>`; never into the URL."
)

_Kinds = list[type[msgspec.Struct]]


def document(limits: Limits, codes: Sequence[ErrorCode], version: str) -> bytes:
    """Return the document as JSON."""
    from_client: _Kinds = _kinds(ClientFrame)
    from_server: _Kinds = [*_kinds(ServerFrame), Message]
    _, schemas = msgspec.json.schema_components(
        [*from_client, *from_server], ref_template="#/components/schemas/{name}"
    )
    _bound(schemas, limits)
    _describe_errors(schemas[Error.__name__]["properties"], frame_codes(codes))
    return msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "chatsvc socket",
                "version": version,
                "description": _DESCRIPTION,
                "license": {"name": "Apache-2.0"},
            },
            "defaultContentType": "application/json",
            "channels": {
                "socket": {
                    "address": "/ws",
                    "messages": {
                        kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}
                        for kind in (*from_client, *from_server)
                    },
                    "bindings": {"ws": {"method": "GET", "query": _query()}},
                }
            },
            "operations": {
                "fromClient": _direction("receive", from_client),
                "fromServer": _direction("send", from_server),
            },
            "components": {
                "messages": {
                    kind.__name__: {
                        "name": _tag(kind),
                        "summary": (kind.__doc__ or "").strip().split("\n")[0],
                        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
                    }
                    for kind in (*from_client, *from_server)
                },
                "schemas": schemas,
            },
        }
    )


def _kinds(union: Any) -> _Kinds:
    return list(get_args(union))


def _tag(kind: type[msgspec.Struct]) -> str:
    tag = kind.__struct_config__.tag
    return "message" if tag is None else str(tag)


def _direction(action: str, kinds: _Kinds) -> dict[str, Any]:
    """Return an operation from the server's view: it receives what a client sends."""
    return {
        "action": action,
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"#/channels/socket/messages/{kind.__name__}"} for kind in kinds],
    }


def _query() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "since": {
                "type": "string",
                "description": "A cursor, `epoch.id`: missed messages first, then live ones.",
            },
            "echo": {
                "type": "boolean",
                "default": False,
                "description": "Also messages that the same user sent over another connection.",
            },
            "device": {"type": "string", **DEVICE},
            "receipts": {
                "enum": ["stored"],
                "description": "Also frames that say up to which id its messages are stored.",
            },
        },
    }


def _describe_errors(properties: dict[str, Any], rows: Sequence[ErrorCode]) -> None:
    properties["code"] = code_schema(rows) | {"description": code_list(rows)}
    waiting = ", ".join(f"`{row.code}`" for row in rows if row.retry_after)
    properties["retry_after"]["description"] = (
        f"Seconds to wait before a retry. Present with {waiting}, and with no other code."
    )


def _bound(schemas: dict[str, Any], limits: Limits) -> None:
    schemas[Send.__name__]["oneOf"] = ONE_CONVERSATION
    properties = schemas[Send.__name__]["properties"]
    for where, keywords in send_bounds(limits).items():
        name, _, below = where.partition("/")
        if name == "headers":
            continue
        schema = properties[name]
        (schema["items"] if below else schema).update(keywords)
    for schema in schemas.values():
        ref = schema.get("properties", {}).get("ref")
        if ref is not None:
            ref["description"] = (
                f"Chosen by the client, 1 to {MAX_REF} characters; the answer repeats it."
            )
    properties["client_id"]["description"] = (
        f"1 to {MAX_CLIENT_ID} printable ASCII characters; a UUIDv7 is best."
    )
