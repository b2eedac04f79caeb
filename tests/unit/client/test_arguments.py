"""What a caller gives wrongly is told at once, nothing is sent, and the client goes on."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from chatsvc.client import ChatApi, ChatClient, GaveUp
from testkit.scripted_server import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().serve() as one:
        yield one


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"participants": [uuid.uuid4(), "bob"], "content": "hi"},
        TypeError,
        "strings, not UUID",
    ),
    ({"participants": "bob", "content": "hi"}, TypeError, "a list of user ids"),
    ({"participants": ["bob"], "content": b"hi"}, TypeError, "content must be a string"),
    ({"participants": ["bob"]}, TypeError, "content must be given"),
    ({"participants": ["bob"], "content": "half \ud83d"}, ValueError, "surrogates not allowed"),
    ({"participants": ["bob"], "content": "hi", "client_id": ""}, ValueError, "1 to 64"),
    ({"participants": ["bob"], "content": "hi", "client_id": "é"}, ValueError, "1 to 64"),
    ({"participants": ["bob"], "content": "hi", "client_id": "x" * 65}, ValueError, "1 to 64"),
    *(
        ({"participants": ["bob"], "content": "x", "metadata": {"n": [n]}}, ValueError, "JSON")
        for n in (math.nan, math.inf, -math.inf, b"bytes", uuid.uuid4())
    ),
]


@pytest.mark.parametrize(("arguments", "error", "text"), WRONG)
async def test_a_send_that_raises_is_not_sent_and_others_are(
    server: ScriptedServer, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    async with ChatClient(server.url, "t") as client:
        peer = await server.greet()
        with pytest.raises(error, match=text):
            await client.send(**arguments)
        assert client.unsent == 0
        good = asyncio.create_task(client.send(["alice", "bob"], "hello", metadata={"n": 1}))
        heard = await peer.hear()
        assert (heard["content"], heard["metadata"]) == ("hello", {"n": 1})
        await peer.ack(1, heard)
        assert not (await good).duplicate


@pytest.mark.parametrize(("arguments", "error", "text"), WRONG)
async def test_a_post_that_raises_is_not_sent(
    server: ScriptedServer, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    async with ChatApi(server.url, "t") as api:
        with pytest.raises(error, match=text):
            await api.post(**arguments)
    assert server.requests == []


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda api: api.history("bob"), "participants"),
        (lambda api: api.connections("bob"), "users"),
        (lambda api: api.connections([b"bob"]), "users"),
    ],
)
async def test_users_must_be_a_list_of_strings(
    server: ScriptedServer, call: Callable[[ChatApi], Awaitable[object]], name: str
) -> None:
    async with ChatApi(server.url, "t") as api:
        with pytest.raises(TypeError, match=f"{name} must be"):
            await call(api)
    assert server.requests == []


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.send(["alice"], "x"),
        lambda client: client.wait_connected(),
        lambda client: client.__anext__(),
    ],
)
async def test_a_client_that_was_not_entered_says_so(
    call: Callable[[ChatClient], Awaitable[object]],
) -> None:
    with pytest.raises(RuntimeError, match="must be entered first"):
        await call(ChatClient("http://127.0.0.1:9", "t"))


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:99999", "out of range"),
        ("http://127.0.0.1:abc", "abc"),
        ("http://127.0.0.1:0", "1 to 65535"),
        ("http://[::1", "IPv6"),
        ("http://user:pw@127.0.0.1:8080", "user information"),
        ("http://user@127.0.0.1:8080", "user information"),
    ],
)
@pytest.mark.parametrize("kind", [ChatClient, ChatApi])
def test_a_url_that_cannot_be_used(
    kind: type[ChatClient] | type[ChatApi], url: str, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        kind(url, "t")


@pytest.mark.parametrize("device", ["", "my phone", "x" * 65, "é", "a/b", "phone\n"])
@pytest.mark.parametrize("kind", [ChatClient, ChatApi])
def test_a_device_that_the_server_would_refuse(
    kind: type[ChatClient] | type[ChatApi], device: str
) -> None:
    with pytest.raises(ValueError, match="device must be 1 to 64"):
        kind("http://127.0.0.1:9", "t", device=device)


@pytest.mark.parametrize("name", ["queue_size", "outbox_size", "max_attempts"])
def test_a_size_of_nothing_is_refused_and_of_one_is_not(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        ChatClient("http://127.0.0.1:9", "t", **{name: 0})  # type: ignore[arg-type]
    ChatClient("http://127.0.0.1:9", "t", **{name: 1})  # type: ignore[arg-type]


def refusal(status: int, media_type: str) -> web.Response:
    return web.Response(status=status, body=b"{}", content_type=media_type)


@pytest.mark.parametrize("status", [400, 404, 422, 426])
async def test_a_handshake_that_the_server_refuses_for_good_ends_the_client(
    server: ScriptedServer, status: int
) -> None:
    server.refusals.append(refusal(status, "application/problem+json"))
    async with ChatClient(server.url, "t") as client:
        with pytest.raises(GaveUp, match=f"the server refuses the handshake: {status}"):
            await client.wait_connected()


@pytest.mark.parametrize(
    ("status", "media_type"),
    [
        (422, "text/html"),
        (404, "text/html"),
        (408, "application/problem+json"),
        (425, "application/problem+json"),
        (429, "application/problem+json"),
        (503, "application/problem+json"),
    ],
)
async def test_what_a_proxy_refuses_or_what_passes_is_tried_again(
    server: ScriptedServer, status: int, media_type: str
) -> None:
    server.refusals.append(refusal(status, media_type))
    async with ChatClient(server.url, "t", draw=lambda: 0.0) as client:
        await server.greet()
        await client.wait_connected()
