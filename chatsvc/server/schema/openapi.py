"""The OpenAPI 3.1 document, from the operations and the structs that decode requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from chatsvc.api.operation import Operation
from chatsvc.core.errors import (
    Forbidden,
    Malformed,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from chatsvc.server.errors import PROBLEM_TYPE, STATUS, Problem, ProblemFault
from chatsvc.server.http.declarations import (
    WITH_BODY,
    check_declaration,
    has_json_body,
    path_names,
)
from chatsvc.server.schema.code_schemas import code_list, code_schema
from chatsvc.server.schema.component_schemas import REF, component_schemas
from chatsvc.wire.error_codes import ErrorCode, codes_of

_DESCRIPTION: Final = (
    "Send messages to a set of users, receive them, and read them back. The frames of the "
    "WebSocket at `/ws` are in `/asyncapi.json`. All errors are problem documents (RFC 9457). "
    "Members may be added to responses: a client ignores those that it does not know."
)
_REASONS: Final = {
    400: "Not HTTP, not JSON or not UTF-8.",
    401: "There is no token, or it is not accepted; the detail says why.",
    403: "The token is valid, but does not permit this.",
    404: "There is no such resource of the caller's.",
    408: "The body did not arrive in time.",
    409: "The `client_id` was used for other content; `id` is the first message's.",
    413: "The body exceeds its bound.",
    415: "The body is not declared to be JSON.",
    422: "A value breaks a rule; `errors` names it.",
    429: "The caller exceeds a rate: try again after `Retry-After` seconds.",
    503: "A temporary problem: try again after `Retry-After` seconds.",
}

Schema = dict[str, Any]


def document(operations: Sequence[Operation], codes: Sequence[ErrorCode], version: str) -> bytes:
    """Return the document as JSON. ``codes``: every error code that the operations raise.

    Raises:
        ValueError: the declaration of an operation contradicts itself.
    """
    for operation in operations:
        check_declaration(operation)
    bodies, parameters = _structs(operations)
    components = component_schemas(dict.fromkeys([*bodies, *parameters]))
    for kind in (Problem, ProblemFault):
        components[kind.__name__]["properties"]["code"] = code_schema(codes)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        entry = _operation(operation, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
        if has_json_body(operation):
            body = components[operation.request.__name__]
            _tighten(body["properties"], _without(operation.bounds, path_names(operation)))
            body.update(operation.request_schema)
    for kind in {*parameters}.difference(bodies):
        del components[kind.__name__]
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "chatsvc",
                "version": version,
                "description": _DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": ".", "description": "Where this document is"}],
            "paths": paths,
            "components": {
                "schemas": components,
                "responses": {str(status): _problem(status, codes) for status in _REASONS},
                "securitySchemes": {
                    "token": {
                        "type": "http",
                        "scheme": "bearer",
                        "bearerFormat": "JWT",
                        "description": "A JWT of the application, which names the user.",
                    }
                },
            },
        }
    )


def _structs(operations: Sequence[Operation]) -> tuple[list[type[Any]], list[type[Any]]]:
    """Return the structs of bodies, and those whose fields are parameters."""
    bodies: list[type[Any]] = [Problem]
    parameters: list[type[Any]] = []
    for operation in operations:
        (bodies if has_json_body(operation) else parameters).append(operation.request)
        if operation.path_fields is not None:
            parameters.append(operation.path_fields)
        answers = [kind for _, kind in operation.responses.values()]
        bodies.extend(kind for kind in answers if not isinstance(kind, tuple))
    return bodies, parameters


def _operation(operation: Operation, components: Mapping[str, Schema]) -> Schema:
    entry: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag] if operation.tag else [],
        "parameters": [*_parameters(operation, components), *_headers(operation)],
        "responses": _responses(operation),
        "security": [{"token": []}] if operation.access.needs_token else [],
    }
    if operation.description:
        entry["description"] = operation.description
    if operation.stream is not None:
        entry["requestBody"] = {
            "required": True,
            "description": f"At most {operation.stream.max_bytes} bytes.",
            "content": {kind: {} for kind in operation.stream.media_types},
        }
    elif operation.method in WITH_BODY:
        reference = {"$ref": REF.format(name=operation.request.__name__)}
        example = _without(operation.example, path_names(operation))
        entry["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": {"schema": reference, "example": example}},
        }
    return entry


def _parameters(operation: Operation, components: Mapping[str, Schema]) -> list[Schema]:
    kind: type[msgspec.Struct] | None = operation.request
    of_body: tuple[str, ...] = ()
    if has_json_body(operation):
        kind, of_body = operation.path_fields, operation.request.__struct_encode_fields__
    if kind is None:
        return []
    in_path = path_names(operation)
    schema = components[kind.__name__]
    properties = {name: _without_null(one) for name, one in schema["properties"].items()}
    _tighten(properties, _without(operation.bounds, of_body))
    parameters: list[Schema] = []
    for name, one in properties.items():
        parameter: Schema = {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in in_path or name in schema.get("required", ()),
        }
        if "description" in one:
            parameter["description"] = one.pop("description")
        if name in operation.example:
            parameter["example"] = operation.example[name]
        parameters.append(parameter | {"schema": one})
    return parameters


def _headers(operation: Operation) -> list[Schema]:
    if operation.headers is None:
        return []
    return [
        {
            "name": operation.header_names[field.name],
            "in": "header",
            "required": False,
            "schema": {"type": "string"} | dict(operation.bounds.get(f"headers/{field.name}", {})),
        }
        for field in msgspec.structs.fields(operation.headers)
    ]


def _without_null(schema: Schema) -> Schema:
    """Return the schema without ``null``: an absent parameter is not null."""
    kept = {key: value for key, value in schema.items() if key != "default" or value is not None}
    options = kept.pop("anyOf", None)
    if options is not None:
        rest = [option for option in options if option != {"type": "null"}]
        kept |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    return kept


def _without(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the bounds or the example of the fields that are not named."""
    return {where: value for where, value in fields.items() if where.partition("/")[0] not in names}


def _tighten(properties: dict[str, Schema], bounds: Mapping[str, Mapping[str, Any]]) -> None:
    """Add the bounds that the types of the struct do not express."""
    for where, keywords in bounds.items():
        name, _, below = where.partition("/")
        if name == "headers":
            continue
        schema = properties[name]
        for option in schema.get("anyOf", ()):
            if option.get("type") != "null":
                schema = option
        (schema["items"] if below == "items" else schema).update(keywords)


def _responses(operation: Operation) -> Schema:
    answers: Schema = {}
    headers = {"X-Request-Id": "The id of this request, also in the log."}
    for status, (description, kind) in operation.responses.items():
        named = headers | dict(operation.response_headers.get(status, {}))
        answers[str(status)] = {
            "description": description,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in named.items()
            },
            "content": _content(kind),
        }
    for status in sorted(_error_statuses(operation)):
        if str(status) not in answers:
            answers[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return answers


def _content(kind: type[Any] | tuple[str, ...]) -> Schema:
    if isinstance(kind, tuple):
        return {media_type: {} for media_type in kind}
    return {"application/json": {"schema": {"$ref": REF.format(name=kind.__name__)}}}


def _error_statuses(operation: Operation) -> set[int]:
    statuses = {400, 422}
    if operation.access.needs_token:
        statuses |= {STATUS[Unauthorized], STATUS[Unavailable]}  # it may not be checked in time
    if operation.access.needs_check:
        statuses.add(STATUS[Forbidden])
    if operation.method in WITH_BODY:
        statuses |= {STATUS[kind] for kind in (Malformed, TooLarge, UnsupportedMedia)} | {408}
    for error in operation.errors:
        statuses.add(next(STATUS[cls] for cls in error.__mro__ if cls in STATUS))
    return statuses


def _problem(status: int, codes: Sequence[ErrorCode]) -> Schema:
    rows = codes_of(codes, status)
    answer: Schema = {
        "description": f"{_REASONS[status]}\n\n{code_list(rows)}",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": REF.format(name=Problem.__name__)}}},
    }
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    elif any(row.retry_after for row in rows):
        answer["headers"] = {
            "Retry-After": {
                "description": "Whole seconds to wait before a retry.",
                "schema": {"type": "integer", "minimum": 1},
            }
        }
    return answer
