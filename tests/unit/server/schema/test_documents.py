"""``/``, ``/openapi.json``, ``/asyncapi.json`` and ``/docs``."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import jsonschema
import msgspec
import pytest

from chatsvc.api.command import Command, CommandReply
from chatsvc.api.feature import error_codes, frame_type
from chatsvc.app.features import declared_features, known_kinds
from chatsvc.core.limits import Limits
from chatsvc.server.schema import asyncapi
from chatsvc.server.websocket.connection_commands import CONNECTION_FRAMES
from chatsvc.wire import protocol
from chatsvc.wire.error_codes import ERROR_CODES, codes_of, frame_codes
from tests.unit.support.http_service import Client, HttpService, running

SET = "participants=alice,bob"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as client:
        yield client


def check(document: dict[str, Any], path: str, method: str, answer: Any) -> None:
    """That the answer is as the document says."""
    responses = document["paths"][path][method]["responses"]
    response = responses[str(answer.status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    [(kind, content)] = response["content"].items()
    assert answer.headers["Content-Type"] == kind
    schema = content["schema"] | {"components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json)
    for name in response.get("headers", {}):
        assert name in answer.headers


async def test_answers_are_as_the_document_says(client: Client) -> None:
    document = (await client.call("GET", "/openapi.json")).json
    messages = "/api/messages"
    check(document, messages, "post", await client.send("alice", "bob", client_id="k"))
    check(document, messages, "post", await client.send("alice", "bob", client_id="k"))
    sent = await client.send("alice", "bob", metadata={"a": None})
    check(document, messages, "post", sent)
    conflict = await client.send("alice", "bob", content="other", client_id="k")
    check(document, messages, "post", conflict)
    check(document, messages, "post", await client.send("alice", "b,c"))
    check(document, messages, "post", await client.call("POST", messages, user=None, json={}))
    check(document, messages, "post", await client.call("POST", messages, data=b"x"))
    client.service.log.refusing = True
    check(document, messages, "post", await client.send("alice", "bob"))
    for path, query in (
        (messages, ""),
        (messages, "?limit=0"),
        ("/api/messages/get", f"?{SET}"),
        ("/api/messages/get", f"?{SET}&after=ffffffffffffff00"),
        ("/api/messages/get", "?participants=carol"),
        ("/api/conversations", ""),
        ("/health", ""),
        ("/health/live", ""),
        ("/health/ready", ""),
    ):
        check(document, path, "get", await client.call("GET", path + query))
    one = await client.call("GET", sent.headers["Location"])
    check(document, "/api/messages/{id}", "get", one)
    none = await client.call("GET", "/api/messages/00000000000000ff")
    check(document, "/api/messages/{id}", "get", none)
    counted = await client.call("POST", "/api/connections", json={"users": ["a"]})
    check(document, "/api/connections", "post", counted)
    token = await client.call("POST", "/api/dev/token", json={"user": "a"})
    check(document, "/api/dev/token", "post", token)


async def test_the_document_holds_the_bounds_of_the_settings() -> None:
    limits = Limits(participants=7, content_characters=70, user_id_characters=17, page=77)
    async with running(HttpService(limits=limits)) as client:
        document = (await client.call("GET", "/openapi.json")).json
        frames = (await client.call("GET", "/asyncapi.json")).json
    for schema in (
        document["components"]["schemas"]["SendRequest"],
        frames["components"]["schemas"]["Send"],
    ):
        assert schema["properties"]["participants"]["maxItems"] == 7
        assert schema["properties"]["participants"]["items"]["maxLength"] == 17
        assert schema["properties"]["content"]["maxLength"] == 70
        assert schema["additionalProperties"] is False
    parameters = document["paths"]["/api/messages/get"]["get"]["parameters"]
    by_name = {parameter["name"]: parameter for parameter in parameters}
    assert by_name["limit"]["schema"]["maximum"] == 77
    assert by_name["before"]["schema"] == {"type": "string", "pattern": "^[0-9a-f]{16}$"}
    one = document["paths"]["/api/messages/{id}"]["get"]["parameters"]
    assert [(p["name"], p["in"], p["required"]) for p in one] == [("id", "path", True)]
    send = document["paths"]["/api/messages"]["post"]
    assert {p["name"] for p in send["parameters"]} == {"Idempotency-Key", "Chatsvc-Device"}


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(references(one) for one in value))
    return set()


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json"])
async def test_every_reference_leads_somewhere(client: Client, path: str) -> None:
    document = (await client.call("GET", path, user=None)).json
    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
    assert len(references(document)) > 5


async def test_every_frame_is_in_the_socket_document(client: Client) -> None:
    document = (await client.call("GET", "/asyncapi.json", user=None)).json
    assert document["asyncapi"].startswith("3.")
    names = {message["name"] for message in document["components"]["messages"].values()}
    tags = {
        kind.__struct_config__.tag
        for kind in vars(protocol).values()
        if isinstance(kind, type) and hasattr(kind, "__struct_config__")
    }
    features = declared_features(Limits())
    commands = {one.name for feature in features for one in feature.commands}
    answers = {
        frame_type(one) for feature in features for c in feature.commands for one in c.answers
    }
    assert names == {str(tag) for tag in tags if tag} | known_kinds().names | commands | answers


class Wave(msgspec.Struct, tag="wave", forbid_unknown_fields=True, kw_only=True):
    """Wave at a user."""

    user: str
    ref: str | None = None


class Waved(msgspec.Struct, tag="waved", kw_only=True):
    """It was seen."""

    ref: str | None = None


class Waving(msgspec.Struct, tag="waving", kw_only=True):
    """Somebody waves."""

    user: str


def test_a_registered_command_is_in_the_socket_document() -> None:
    wave = Command(
        request=Wave,
        answers=(Waved,),
        handler=lambda *_: CommandReply(None),
        bounds={"user": {"minLength": 1}},
        request_schema={"minProperties": 2},
        example={"type": "wave", "user": "bob"},
    )
    document = json.loads(asyncapi.document((wave,), (Waving,), ERROR_CODES, "0"))
    components = document["components"]
    assert components["messages"]["Wave"] == {
        "name": "wave",
        "summary": "Wave at a user.",
        "payload": {"$ref": "#/components/schemas/Wave"},
        "examples": [{"payload": {"type": "wave", "user": "bob"}}],
    }
    schema = components["schemas"]["Wave"]
    assert schema["minProperties"] == 2
    assert schema["properties"]["user"] == {"type": "string", "minLength": 1}
    assert "description" in schema["properties"]["ref"]
    operations = document["operations"]
    assert len(operations["fromClient"]["messages"]) == 1
    sent = [one["$ref"].rpartition("/")[2] for one in operations["fromServer"]["messages"]]
    assert sent[-2:] == ["Waved", "Waving"]
    assert sent[:-2] == [kind.__name__ for kind in CONNECTION_FRAMES]


async def test_the_documents_name_every_error_code(client: Client) -> None:
    document = (await client.call("GET", "/openapi.json", user=None)).json
    codes = error_codes(client.service.features)
    every = [row.code for row in codes]
    assert "not_a_participant" in every  # a feature's
    for name in ("Problem", "ProblemFault"):
        code = document["components"]["schemas"][name]["properties"]["code"]
        assert code["x-extensible-enum"] == every
    for status, response in document["components"]["responses"].items():
        rows = codes_of(codes, int(status))
        assert rows
        assert all(f"`{row.code}`: {row.meaning}" in response["description"] for row in rows)
        waits = any(row.retry_after for row in rows)
        assert ("Retry-After" in response.get("headers", {})) == waits
    frames = (await client.call("GET", "/asyncapi.json", user=None)).json
    error = frames["components"]["schemas"]["Error"]["properties"]
    assert error["code"]["x-extensible-enum"] == [row.code for row in frame_codes(codes)]
    waiting = {row.code for row in frame_codes(codes) if row.retry_after}
    assert set(re.findall(r"`(\w+)`", error["retry_after"]["description"])) == waiting


async def test_the_root_points_on(client: Client) -> None:
    answer = await client.call("GET", "/", user=None)
    assert answer.json["name"] == "chatsvc"
    for name in ("docs", "openapi", "asyncapi"):
        assert (await client.call("GET", answer.json[name], user=None)).status == 200


async def test_the_page_asks_no_other_host(client: Client) -> None:
    page = await client.call("GET", "/docs", user=None)
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    text = page.body.decode()
    assets = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(assets) >= 4
    for asset in assets:
        assert not asset.startswith(("/", "http"))  # a proxy may serve it under a prefix
        answer = await client.call("GET", f"/{asset}", user=None)
        assert answer.status == 200
        assert len(answer.body) > 50
    script = await client.call("GET", "/docs/swagger-ui-bundle.js", user=None)
    assert "javascript" in script.headers["Content-Type"]
    assert b"SwaggerUIBundle" in script.body


async def test_the_document_is_about_the_server_it_came_from(client: Client) -> None:
    """Relative (OpenAPI 3.1 §4.8.5): the same under a prefix."""
    document = (await client.call("GET", "/openapi.json", user=None)).json
    assert [one["url"] for one in document["servers"]] == ["."]


async def test_every_example_is_a_request_that_does_what_it_is_for(client: Client) -> None:
    """As the documentation page fills its forms, sent by Alice."""
    document = (await client.call("GET", "/openapi.json")).json
    sent = await client.send("alice", "bob")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body: Any = None
            if "requestBody" in operation:
                body = operation["requestBody"]["content"]["application/json"]["example"]
            given: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}}
            for parameter in operation["parameters"]:
                name, example = parameter["name"], parameter.get("example")
                assert not parameter["required"] or example is not None, path
                if example is not None:
                    given[parameter["in"]][name] = example
            if path == "/api/messages/{id}":  # of a message that nobody can know
                assert re.fullmatch("[0-9a-f]{16}", given["path"]["id"])
                given["path"]["id"] = sent.json["id"]
            if path.startswith("/api/groups/"):
                made = await client.call("POST", "/api/groups", json={"name": "Readers"})
                given["path"]["id"] = made.json["id"]
            if path == "/api/groups/join":
                link = await client.call("POST", f"/api/groups/{made.json['id']}/links")
                body = {"code": link.json["code"]}
            target = path.format_map({name: quote(one) for name, one in given["path"].items()})
            answer = await client.call(method.upper(), target, json=body, params=given["query"])
            assert answer.status in (200, 201), (path, answer.body)


async def test_an_asset_that_is_known_is_not_sent_again(client: Client) -> None:
    first = await client.call("GET", "/docs/swagger-ui.css", user=None)
    headers = {"If-None-Match": first.headers["ETag"]}
    again = await client.call("GET", "/docs/swagger-ui.css", user=None, headers=headers)
    assert (again.status, again.body) == (304, b"")
