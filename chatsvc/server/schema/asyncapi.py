"""The AsyncAPI 3.0 document of the WebSocket, from the structs of its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from chatsvc.api.command import Command
from chatsvc.api.feature import frame_type
from chatsvc.api.fields import DEVICE, KINDS
from chatsvc.server.schema.code_schemas import code_list, code_schema
from chatsvc.server.schema.component_schemas import component_schemas
from chatsvc.server.websocket.connection_commands import CONNECTION_FRAMES
from chatsvc.wire.error_codes import ErrorCode, frame_codes
from chatsvc.wire.protocol import MAX_REF, PROTOCOL_VERSION, Error

_DESCRIPTION: Final = (
    "One socket receives every conversation of its user. Frames from a client are strict; a "
    "client ignores fields and types of frames that it does not know. The token goes into "
    f"`Authorization: Bearer …`, or for browsers into the subprotocols `{PROTOCOL_VERSION}, "
    "bearer.<jwt>`; never into the URL."
)

_Kinds = list[type[msgspec.Struct]]


def document(
    commands: Sequence[Command],
    frames: Sequence[type[msgspec.Struct]],
    codes: Sequence[ErrorCode],
    version: str,
) -> bytes:
    """Return the document as JSON.

    Args:
        commands: those that a client can send.
        frames: what the features send beside the answers of commands.
        codes: every error code of the service; an ``error`` frame can carry some of them.
    """
    from_client: _Kinds = [command.request for command in commands]
    answers = [answer for command in commands for answer in command.answers]
    from_server: _Kinds = list(dict.fromkeys((*CONNECTION_FRAMES, *answers, *frames)))
    schemas = component_schemas((*from_client, *from_server))
    for command in commands:
        _bound(schemas[command.request.__name__], command)
    _describe_refs(schemas)
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
            "channels": {"socket": _channel((*from_client, *from_server))},
            "operations": {
                "fromClient": _direction("receive", from_client),
                "fromServer": _direction("send", from_server),
            },
            "components": {
                "messages": {kind.__name__: _message(kind) for kind in from_server}
                | {command.request.__name__: _request(command) for command in commands},
                "schemas": schemas,
            },
        }
    )


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "name": frame_type(kind),
        "summary": (kind.__doc__ or "").strip().split("\n")[0],
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }


def _request(command: Command) -> dict[str, Any]:
    message = _message(command.request)
    return message | {"examples": [{"payload": command.example}]} if command.example else message


def _channel(kinds: Sequence[type[msgspec.Struct]]) -> dict[str, Any]:
    return {
        "address": "/ws",
        "messages": {
            kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in kinds
        },
        "bindings": {"ws": {"method": "GET", "query": _query()}},
    }


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
            "kinds": {
                "type": "string",
                "description": "Records of these kinds only, joined by commas; default: all.",
                **KINDS,
            },
        },
    }


def _describe_errors(properties: dict[str, Any], rows: Sequence[ErrorCode]) -> None:
    properties["code"] = code_schema(rows) | {"description": code_list(rows)}
    waiting = ", ".join(f"`{row.code}`" for row in rows if row.retry_after)
    properties["retry_after"]["description"] = (
        f"Seconds to wait before a retry. Present with {waiting}, and with no other code."
    )


def _bound(schema: dict[str, Any], command: Command) -> None:
    schema.update(command.request_schema)
    for where, keywords in command.bounds.items():
        name, _, below = where.partition("/")
        field = schema["properties"][name]
        (field["items"] if below else field).update(keywords)


def _describe_refs(schemas: Mapping[str, dict[str, Any]]) -> None:
    for schema in schemas.values():
        ref = schema.get("properties", {}).get("ref")
        if ref is not None:
            ref["description"] = (
                f"Chosen by the client, 1 to {MAX_REF} characters; the answer repeats it."
            )
