"""Operations with names in the path beside a JSON body, and with bodies that may be left out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import pytest
from yarl import URL

from chatsvc.api.access import USER
from chatsvc.api.body import StreamedBody
from chatsvc.api.feature import Feature
from chatsvc.api.operation import Operation, Reply
from chatsvc.server.http.application import ServerOptions
from chatsvc.server.schema import openapi
from chatsvc.wire.error_codes import ERROR_CODES
from tests.unit.support.http_service import Answer, Client
from tests.unit.support.problems import JSON, check_problem
from tests.unit.support.streams import exchange, service_of, serving

PATH = "/api/clubs/{id}/members/{user}"
APP = "https://app.example.org"


class MemberPath(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which member."""

    id: Annotated[str, msgspec.Meta(max_length=8)]
    user: str


class MemberRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a member becomes."""

    role: str = "member"
    tags: list[str] = []


class RenameRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The member's name in the club."""

    name: str


class CallHeaders(msgspec.Struct):
    """One header."""

    device: str | None = None


class Called(msgspec.Struct, kw_only=True):
    """What the handler was called with."""

    method: str
    id: str
    user: str
    value: str | None = None
    device: str | None = None


async def read(caller: Any, request: MemberPath) -> Reply:
    return Reply(200, Called(method="GET", id=request.id, user=request.user))


async def remove(caller: Any, request: MemberPath) -> Reply:
    return Reply(200, Called(method="DELETE", id=request.id, user=request.user))


async def put(caller: Any, request: MemberRequest, path: MemberPath) -> Reply:
    return Reply(200, Called(method="PUT", id=path.id, user=path.user, value=request.role))


async def rename(
    caller: Any, request: RenameRequest, headers: CallHeaders, path: MemberPath
) -> Reply:
    called = Called(
        method="PATCH", id=path.id, user=path.user, value=request.name, device=headers.device
    )
    return Reply(200, called)


def operation(name: str, method: str, **more: Any) -> Operation:
    common: dict[str, Any] = {
        "path": PATH,
        "summary": "A member",
        "access": USER,
        "responses": {200: ("Called.", Called)},
        "example": {"id": "club", "user": "bob"},
        "bounds": {"user": {"maxLength": 9, "description": "The member."}},
    }
    return Operation(name=name, method=method, **common | more)


READ = operation("read", "GET", request=MemberPath, handler=read)
REMOVE = operation("remove", "DELETE", request=MemberPath, handler=remove)
PUT = operation(
    "put", "PUT", request=MemberRequest, path_fields=MemberPath, body_optional=True, handler=put
)
RENAME = operation(
    "rename",
    "PATCH",
    request=RenameRequest,
    path_fields=MemberPath,
    headers=CallHeaders,
    header_names={"device": "Chatsvc-Device"},
    handler=rename,
    bounds=READ.bounds | {"name": {"minLength": 1}},
    example={"id": "club", "user": "bob", "name": "Bob"},
)
CLUBS = Feature(name="clubs", operations=(READ, PUT, RENAME, REMOVE))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    server = ServerOptions(version="0", cors_origins=(APP,))
    async with serving(CLUBS, server=server) as client:
        yield client


async def call(
    client: Client,
    method: str,
    path: str = "/api/clubs/c/members/bob",
    headers: dict[str, str] = JSON,
    **more: Any,
) -> Answer:
    """The path as it is written."""
    url = URL(client.service.url + path, encoded=True)
    sent = headers | {"Authorization": "Bearer token-of-alice"}
    async with client.session.request(method, url, headers=sent, **more) as response:
        return Answer(response.status, response.headers.copy(), await response.read())


@pytest.mark.parametrize(
    ("part", "text"),
    [("bob", "bob"), ("a%2Fb", "a/b"), ("a%20b", "a b"), ("J%C3%BCrgen", "Jürgen"),
     ("%25FF", "%FF"), ("%7B%7D", "{}")],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "body", "value"),
    [("GET", None, None), ("DELETE", None, None), ("PUT", b'{"role":"owner"}', "owner"),
     ("PATCH", b'{"name":"B"}', "B")],
)  # fmt: skip
async def test_names_of_the_path_are_decoded_alike_for_every_method(
    client: Client, method: str, body: bytes | None, value: str | None, part: str, text: str
) -> None:
    answer = await call(client, method, f"/api/clubs/c/members/{part}", data=body)
    assert answer.status == 200, answer.body
    called = {"method": method, "id": "c", "user": text, "value": value, "device": None}
    assert answer.json == called


async def test_headers_come_before_the_path() -> None:
    async with serving(CLUBS) as client:
        headers = JSON | {"Chatsvc-Device": "phone"}
        answer = await call(client, "PATCH", headers=headers, data=b'{"name":"B"}')
    assert answer.json["device"] == "phone"
    assert answer.json["user"] == "bob"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH"])
async def test_a_name_that_is_refused_is_refused_alike(client: Client, method: str) -> None:
    body = b'{"name":"B"}' if method == "PATCH" else None
    answer = await call(client, method, "/api/clubs/c/members/%FF", data=body)
    check_problem(answer, 400, "not_utf8")
    answer = await call(client, method, "/api/clubs/too-long-an-id/members/bob", data=body)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/id")
    answer = await call(client, method, "/api/clubs/c/members/bob?user=carol", data=body)
    problem = check_problem(answer, 422, "unknown_field")
    assert problem["errors"][0]["pointer"] == "/user"


@pytest.mark.parametrize("name", ["user", "id", "other"])
async def test_a_body_has_no_field_of_the_path(client: Client, name: str) -> None:
    body = json.dumps({"role": "owner", name: "x"}).encode()
    problem = check_problem(await call(client, "PUT", data=body), 422, "unknown_field")
    assert problem["errors"][0]["pointer"] == f"/{name}"


# Bodies that may be left out


HEAD = "Host: x\r\nAuthorization: Bearer token-of-alice\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "rest",
    ["\r\n", "Content-Length: 0\r\n\r\n", "Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ids=["none", "length", "type", "chunked"],
)  # fmt: skip
async def test_a_body_that_is_empty_is_an_empty_object(client: Client, rest: str) -> None:
    target = f"PUT /api/clubs/c/members/bob HTTP/1.1\r\n{HEAD}{rest}".encode()
    received, _ = await exchange(client.service.port, target)
    assert received.startswith(b"HTTP/1.1 200"), received
    assert b'"value":"member"' in received


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_there_must_be_json(client: Client, chunked: bool) -> None:
    async def put(body: bytes, headers: dict[str, str]) -> Answer:
        async def parts() -> AsyncIterator[bytes]:
            yield body

        return await call(client, "PUT", headers=headers, data=parts() if chunked else body)

    assert (await put(b'{"role":"owner"}', JSON)).json["value"] == "owner"
    plain = {"Content-Type": "text/plain"}
    check_problem(await put(b'{"role":"owner"}', plain), 415, "unsupported_media_type")
    packed = JSON | {"Content-Encoding": "gzip"}
    check_problem(await put(b"{}", packed), 415, "unsupported_content_encoding")
    for body in (b" ", b"{", b"\0"):
        check_problem(await put(body, JSON), 400, "malformed_json")
    check_problem(
        await put(b" " * (client.service.limits.body_bytes + 1), JSON), 413, "body_too_large"
    )


async def test_a_body_that_is_not_optional_must_be_there(client: Client) -> None:
    answer = await call(client, "PATCH", headers={}, skip_auto_headers=["Content-Type"])
    check_problem(answer, 415, "unsupported_media_type")
    check_problem(await call(client, "PATCH"), 400, "malformed_json")


async def test_the_body_of_a_removal_is_not_read(client: Client) -> None:
    """The connection goes on behind it."""
    for body in (b'{"user":"carol"}', b"not JSON"):
        answer = await call(client, "DELETE", data=body)
        assert (answer.status, answer.json["user"]) == (200, "bob")
    assert (await call(client, "GET")).status == 200


# Other methods of the path


async def test_every_method_of_the_path_is_allowed(client: Client) -> None:
    every = {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}
    refused = await call(client, "POST", data=b"{}")
    check_problem(refused, 405, "method_not_allowed")
    assert set(refused.headers["Allow"].split(", ")) == every
    asked = await call(client, "OPTIONS", "/api/clubs/c%2Fd/members/%7Bbob%7D")
    assert asked.status == 204
    assert set(asked.headers["Allow"].split(", ")) == every
    assert "Access-Control-Allow-Methods" not in asked.headers
    preflight = {"Origin": APP, "Access-Control-Request-Method": "PUT"}
    asked = await call(client, "OPTIONS", headers=preflight)
    assert asked.headers["Access-Control-Allow-Origin"] == APP
    assert set(asked.headers["Access-Control-Allow-Methods"].split(", ")) == every


async def test_head_is_served_where_get_is() -> None:
    async with serving(CLUBS) as client:
        answer = await call(client, "HEAD")
        assert (answer.status, answer.body) == (200, b"")
    async with serving(Feature(name="clubs", operations=(PUT,))) as client:
        answer = await call(client, "HEAD")
        assert (answer.status, answer.headers["Allow"]) == (405, "OPTIONS, PUT")


# The document


async def test_the_document_has_the_names_as_parameters(client: Client) -> None:
    document = (await call(client, "GET", "/openapi.json")).json
    methods = document["paths"][PATH]
    assert set(methods) == {"get", "put", "patch", "delete"}
    for method, described in methods.items():
        in_path = [one for one in described["parameters"] if one["in"] == "path"]
        assert in_path == [
            {"name": "id", "in": "path", "required": True, "example": "club",
             "schema": {"type": "string", "maxLength": 8}},
            {"name": "user", "in": "path", "required": True, "example": "bob",
             "description": "The member.", "schema": {"type": "string", "maxLength": 9}},
        ], method  # fmt: skip
        assert ("requestBody" in described) == (method in ("put", "patch"))
    assert [one["name"] for one in methods["patch"]["parameters"]] == [
        "id", "user", "Chatsvc-Device"
    ]  # fmt: skip
    assert methods["put"]["requestBody"]["required"] is False
    assert methods["patch"]["requestBody"]["required"] is True
    for method, example in (("put", {}), ("patch", {"name": "Bob"})):
        content = methods[method]["requestBody"]["content"]["application/json"]
        assert content["example"] == example
    schemas = document["components"]["schemas"]
    assert "MemberPath" not in schemas
    assert schemas["RenameRequest"]["properties"] == {"name": {"type": "string", "minLength": 1}}
    assert set(schemas["MemberRequest"]["properties"]) == {"role", "tags"}


def test_a_struct_of_parameters_that_is_also_a_body_stays_in_the_document() -> None:
    create = replace(
        PUT, method="POST", path="/api/clubs", request=MemberPath, path_fields=None,
        body_optional=False,
    )  # fmt: skip
    document = json.loads(openapi.document((READ, create), ERROR_CODES, "0"))
    assert "MemberPath" in document["components"]["schemas"]


# Declarations that contradict themselves


class OneName(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A variable part has no field."""

    id: str


class ThreeNames(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A field has no variable part."""

    id: str
    user: str
    role: str


class Numbers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """No text."""

    id: str
    user: int


class Both(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A name that is in the path, too."""

    user: str = ""


WRONG = {
    "a part without a field": replace(PUT, path_fields=OneName),
    "no fields for the parts": replace(PUT, path_fields=None),
    "a field without a part": replace(PUT, path_fields=ThreeNames),
    "fields without parts": replace(PUT, path="/api/clubs"),
    "no text": replace(PUT, path_fields=Numbers),
    "in body and path": replace(PUT, request=Both),
    "fields of a GET": replace(READ, path_fields=MemberPath),
    "fields of a DELETE": replace(REMOVE, path_fields=MemberPath),
    "fields of a stream": replace(PUT, stream=StreamedBody(("image/png",), 9)),
    "an optional body of a DELETE": replace(REMOVE, body_optional=True),
    "an optional body that is required": replace(RENAME, body_optional=True),
    "a part of a GET without a field": replace(READ, request=OneName),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(
    "build",
    [
        lambda one: service_of(Feature(name="clubs", operations=(one,))),
        lambda one: openapi.document((one,), ERROR_CODES, "0"),
    ],
    ids=["routes", "document"],
)
def test_a_declaration_must_not_contradict_itself(
    build: Callable[[Operation], object], wrong: Operation
) -> None:
    with pytest.raises(ValueError, match=f"operation '{wrong.name}' must"):
        build(wrong)
