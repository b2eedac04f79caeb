"""Whatever is wrong with a request is told by name and bound, and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.support.http_service import Client, HttpService, running
from tests.unit.support.problems import JSON, check_problem


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("", "/participants", "missing"),
        ("participants=alice&channel=alice", "/channel", "one_conversation"),
        ("participants=", "/participants", "too_few"),
        ("participants=alice,,bob", "/participants/1", "too_short"),
        ("participants=alice,e%CC%81", "/participants/1", "not_nfc"),
        ("participants=alice&limit=0", "/limit", "too_small"),
        ("participants=alice&limit=-1", "/limit", "too_small"),
        ("participants=alice&limit=1001", "/limit", "too_large"),
        ("participants=alice&limit=" + "9" * 40, "/limit", "too_large"),
        ("participants=alice&limit=ten", "/limit", "wrong_type"),
        ("participants=alice&limit=", "/limit", "wrong_type"),
        ("participants=alice&before=1", "/before", "bad_id"),
        ("participants=alice&after=019AA7C3F2100000", "/after", "bad_id"),
        ("participants=alice&around=", "/around", "bad_id"),
        ("participants=alice&before=019aa7c3f210000000", "/before", "bad_id"),
        (
            "participants=alice&before=0000000000000001&after=0000000000000001",
            "/after",
            "one_bound",
        ),
        (
            "participants=alice&after=0000000000000001&around=0000000000000001",
            "/around",
            "one_bound",
        ),
        ("participants=alice&x=1", "/x", "unknown_field"),
        ("participants=alice&participants=bob", "/participants", "repeated"),
        ("channel=bob,alice", "/channel", "not_sorted"),
        ("channel=alice,alice", "/channel", "not_sorted"),
        ("channel=", "/channel", "too_short"),
        ("channel=" + "x" * 256, "/channel", "too_long"),
    ],
)
async def test_bad_parameters(client: Client, query: str, pointer: str, code: str) -> None:
    answer = await client.call("GET", f"/api/messages/get?{query}")
    problem = check_problem(answer, 422, code)
    assert problem["errors"][0]["pointer"] == pointer


async def test_parameters_where_only_a_body_is_taken(client: Client) -> None:
    answer = await client.call(
        "POST", "/api/messages?debug=1", json={"participants": ["alice"], "content": "hi"}
    )
    problem = check_problem(answer, 422, "unknown_field")
    assert problem["errors"][0]["pointer"] == "/debug"


async def test_the_name_of_a_path_is_no_parameter(client: Client) -> None:
    answer = await client.call("GET", "/api/messages/00000000000000ff?id=00000000000000aa")
    check_problem(answer, 422, "unknown_field")


async def test_a_bad_id_in_the_path(client: Client) -> None:
    problem = check_problem(await client.call("GET", "/api/messages/nope"), 422, "bad_id")
    assert problem["errors"][0]["pointer"] == "/id"


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("Idempotency-Key", "k" * 65, "bad_client_id"),
        ("Idempotency-Key", "ü", "bad_client_id"),
        ("Chatsvc-Device", "a b", "bad_device"),
        ("Chatsvc-Device", "d" * 65, "bad_device"),
    ],
)
async def test_bad_header_fields(client: Client, header: str, value: str, code: str) -> None:
    answer = await client.send("alice", "bob", headers={header: value})
    problem = check_problem(answer, 422, code)
    assert problem["errors"][0]["pointer"] == f"/{header}"
    assert client.service.log.records == []


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "token_missing"),
        ("Basic YWxpY2U6c2VjcmV0", "token_scheme"),
        ("Bearer", "token_invalid"),
        ("Bearer   ", "token_invalid"),
        ("Bearer forged", "token_invalid"),
        ("Bearer expired", "token_expired"),
        ("token-of-alice", "token_scheme"),
    ],
)
async def test_tokens(client: Client, header: str | None, code: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    body = {"participants": ["alice"], "content": "hi"}
    for method, path, sent in (
        ("POST", "/api/messages", body),
        ("GET", "/api/conversations", None),
    ):
        answer = await client.call(method, path, user=None, headers=headers, json=sent)
        check_problem(answer, 401, code)
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="chatsvc"')
        assert ("error=" in challenge) == (code != "token_missing")
    assert client.service.log.records == []


async def test_the_scheme_is_not_case_sensitive(client: Client) -> None:
    headers = {"Authorization": "bearer token-of-alice"}
    answer = await client.call("GET", "/api/conversations", user=None, headers=headers)
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/messages/get/more", "/docs/secret"])
async def test_unknown_paths(client: Client, path: str) -> None:
    check_problem(await client.call("GET", path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/messages", "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/api/messages/get", "GET, HEAD, OPTIONS"),
        ("GET", "/api/connections", "OPTIONS, POST"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("POST", "/docs", "GET, HEAD, OPTIONS"),
    ],
)
async def test_wrong_methods(client: Client, method: str, path: str, allow: str) -> None:
    answer = await client.call(method, path)
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allow


async def test_every_route_answers_errors_in_the_one_shape(client: Client) -> None:
    document = (await client.call("GET", "/openapi.json")).json
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = path.replace("{id}", "00000000000000ff").replace("{user}", "bob")
            if operation["security"]:
                answer = await client.call(method.upper(), where, user=None)
                check_problem(answer, 401, "token_missing")
            if "requestBody" in operation:
                body = b'{"no_such":1}'
                answer = await client.call(method.upper(), where, data=body, headers=JSON)
            else:
                answer = await client.call(method.upper(), f"{where}?no_such=1")
            assert answer.status == 422
            check_problem(answer, 422, answer.json["code"])
            check_problem(await client.call("TRACE", where), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "user", "status"),
    [
        ("/api/messages/get?participants=alice,bob", None, 401),
        ("/api/messages/get?participants=alice,bob", "alice", 200),
        ("/api/messages/get?participants=alice,bob", "mallory", 403),
        ("/api/messages/get?channel=alice,bob", "mallory", 403),
        ("/api/messages/get", "alice", 422),
        ("/api/messages", "alice", 200),
        ("/api/messages?limit=0", "alice", 422),
        ("/api/messages?before=x", "alice", 422),
        ("/api/messages?before=0000000000000001&after=0000000000000001", "alice", 422),
        ("/api/messages?nonsense=1", "alice", 422),
        ("/api/messages/get?channel=%2Csha256%3A" + "0" * 64, "mallory", 200),
        ("/api/conversations", "alice", 200),
        ("/api/conversations?before=x", "alice", 422),
        ("/api/messages/00000000000000ff", "alice", 404),
    ],
)
async def test_head_looks_at_the_request_alone(
    client: Client, path: str, user: str | None, status: int
) -> None:
    await client.send("alice", "bob")
    reads = 0
    history = client.service.history
    for name in ("channel_page", "user_page", "conversations", "participants"):

        def count(*_: object, **__: object) -> None:
            nonlocal reads
            reads += 1

        setattr(history, name, count)
    answer = await client.call("HEAD", path, user=user)
    assert (answer.status, answer.body) == (status, b"")
    assert reads == 0
    if status == 200:
        assert "Content-Length" not in answer.headers
        assert answer.headers["Content-Type"] == "application/json"
    assert (await client.call("HEAD", "/health", user=None)).status == 200, "it goes on"


async def test_head_of_what_is_ready_has_its_length(client: Client) -> None:
    for path in ("/health", "/openapi.json", "/docs", "/docs/swagger-ui.css"):
        head = await client.call("HEAD", path, user=None)
        got = await client.call("GET", path, user=None)
        assert head.body == b""
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("&".join(f"p{n}=1" for n in range(5000)), id="many"),
        pytest.param("&" * 50_000, id="none of them"),
        pytest.param("x" * 50_000 + "=1", id="one with a long name"),
        pytest.param("limit=" + "9" * 50_000, id="one with a long value"),
    ],
)
async def test_the_answer_to_a_long_query_is_short(client: Client, query: str) -> None:
    answer = await client.call("GET", f"/api/messages?{query}")
    assert answer.status in {200, 422}
    assert len(answer.body) < 2000
