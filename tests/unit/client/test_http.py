from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from chatsvc.client import ApiError, Backoff, ChatApi, Sent, Unreachable
from chatsvc.client.http import base_url, describe
from chatsvc.core.ids import now_ms, uuid7_ms
from testkit.scripted_server import ScriptedServer, message, message_id

DATE_2016 = "Wed, 04 May 2016 03:02:01 GMT"
DAY_MS = 86_400_000


async def test_a_post(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(201, message(1, "hi", sender="alice"))
    sent = await api.post(["alice", "bob"], "hi", metadata={"a": 1})
    (request,) = server.requests
    body = json.loads(await request.read())
    assert (request.method, request.path) == ("POST", "/api/messages")
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Chatsvc-Device"] == "tv"
    assert request.headers["Content-Type"] == "application/json"
    assert uuid7_ms(body.pop("client_id")) is not None
    assert body == {"participants": ["alice", "bob"], "content": "hi", "metadata": {"a": 1}}
    assert (sent.id, sent.duplicate) == (message_id(1), False)


async def test_ids_are_minted_by_the_date_of_earlier_answers(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(503, {"code": "log_unavailable"}, Retry_After="0", Date=DATE_2016)
    server.answer(201, message(1))
    await api.post(["alice", "bob"], "hi")
    server.answer(201, message(2))
    await api.post(["alice", "bob"], "hi")
    minted = [
        uuid7_ms(json.loads(await request.read())["client_id"]) or 0 for request in server.requests
    ]
    assert abs(minted[0] - now_ms()) < DAY_MS, "by its own clock, before any answer"
    assert minted[1] == minted[0], "and never minted again"
    assert minted[2] > minted[1], "nor ever back"
    other = ChatApi(server.url, "secret")
    async with other:
        server.answer(200, {"connections": {}}, Date=DATE_2016)
        await other.connections(["bob"])
        server.answer(201, message(3))
        await other.post(["alice", "bob"], "hi")
    body = json.loads(await server.requests[-1].read())
    assert 0 <= (uuid7_ms(body["client_id"]) or 0) - 1_462_330_921_000 < DAY_MS


async def test_a_post_that_was_accepted_before(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(200, message(1))
    sent = await api.post(["alice", "bob"], "hi", client_id="mine")
    assert sent == Sent(message_id(1), "2026-11-21T12:00:00.000Z", "mine", True)


async def test_three_tries_on_5xx_and_lost_connections_with_the_same_client_id(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(503, {"code": "log_unavailable"}, Retry_After="0")
    server.hang_up()
    server.answer(201, message(1))
    await api.post(["alice", "bob"], "hi")
    bodies = [await request.read() for request in server.requests]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1


async def test_three_and_no_more(server: ScriptedServer, api: ChatApi) -> None:
    for _ in range(4):
        server.answer(502)
    with pytest.raises(ApiError) as caught:
        await api.message(message_id(1))
    assert (caught.value.status, caught.value.code) == (502, "http_502")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda api: api.post(["alice"], "hi"), "POST /api/messages: "),
        (lambda api: api.history(), "GET /api/messages: "),
        (lambda api: api.message("a b"), "GET /api/messages/a%20b: "),
        (lambda api: api.conversations(), "GET /api/conversations: "),
        (lambda api: api.connections(["a"]), "POST /api/connections: "),
    ],
    ids=["post", "history", "message", "conversations", "connections"],
)
async def test_no_answer_at_all(
    server: ScriptedServer, api: ChatApi, call: Callable[[ChatApi], Awaitable[Any]], named: str
) -> None:
    for _ in range(4):
        server.hang_up()
    with pytest.raises(Unreachable, match=f"^{named}") as caught:
        await call(api)
    assert len(server.requests) == 3
    assert isinstance(caught.value.__cause__, aiohttp.ClientError)


async def test_nobody_listening_is_said_in_plain_words() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can have it
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with ChatApi(url, "t", backoff=Backoff(0.001, 0.001)) as api:
            with pytest.raises(Unreachable, match=r": Connection refused$"):
                await api.conversations()


async def test_retry_after_is_honoured_and_one_too_long_is_the_callers(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(503, {"code": "log_unavailable", "detail": "full"}, Retry_After="3600")
    with pytest.raises(ApiError) as caught:
        await api.conversations()
    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 413, 422, 451])
async def test_what_is_refused_is_not_tried_again(
    server: ScriptedServer, api: ChatApi, status: int
) -> None:
    server.answer(status, {"code": "x", "detail": "y"})
    with pytest.raises(ApiError) as caught:
        await api.conversations()
    assert caught.value.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_what_may_pass_is_tried_again(
    server: ScriptedServer, api: ChatApi, status: int
) -> None:
    server.answer(status, "<html>")
    server.answer(status, {"code": "of a newer server"}, Retry_After="0.001")
    server.answer(200, {"connections": {}})
    assert await api.connections(["a"]) == {}
    for _ in range(3):
        server.answer(status)
    with pytest.raises(ApiError) as caught:
        await api.post(["a"], "hi")
    assert (caught.value.status, caught.value.passing) == (status, True)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("status", "body", "final"),
    [
        (403, {"code": "forbidden"}, True),
        (422, {"code": "of a newer server"}, True),
        (418, {}, True),
        (403, "<html>", False),
        (404, None, False),
        (401, {"code": "token_invalid"}, False),
        (429, {"code": "too_many_requests"}, False),
        (503, {"code": "unavailable"}, False),
    ],
)
async def test_only_what_the_server_itself_refuses_is_final(
    server: ScriptedServer, api: ChatApi, status: int, body: object, final: bool
) -> None:
    for _ in range(3):
        server.answer(status, body)
    with pytest.raises(ApiError) as caught:
        await api.conversations()
    assert (caught.value.status, caught.value.final) == (status, final)


async def test_what_does_not_speak_http_is_no_answer() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        writer.close()

    other = await asyncio.start_server(speak, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
    async with other, ChatApi(url, "t", backoff=Backoff(0.001, 0.001)) as api:
        with pytest.raises(Unreachable):
            await api.conversations()


async def test_a_refused_token_is_asked_for_anew_once(server: ScriptedServer) -> None:
    given: list[str] = []

    def token() -> str:
        given.append(f"t{len(given)}")
        return given[-1]

    server.answer(401, {"code": "token_expired"})
    server.answer(200, {"connections": {}})
    async with ChatApi(server.url, token) as api:
        await api.connections(["a"])
        assert [one.headers["Authorization"] for one in server.requests] == [
            "Bearer t0",
            "Bearer t1",
        ]
        server.answer(401, {"code": "token_invalid"})
        server.answer(401, {"code": "token_invalid"})
        with pytest.raises(ApiError) as caught:
            await api.connections(["a"])
    assert caught.value.status == 401


async def test_a_redirect_does_not_take_the_token_along(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(302, Location="http://127.0.0.1:1/elsewhere")
    with pytest.raises(ApiError) as caught:
        await api.conversations()
    assert caught.value.status == 302


async def test_it_says_that_it_is_not_open() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await ChatApi("http://127.0.0.1:1", "t").conversations()


def unreachable(error: OSError) -> aiohttp.ClientConnectorError:
    key = ConnectionKey("h", 80, False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (unreachable(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")),
         "Connection refused"),
        (unreachable(PermissionError(errno.EPERM, "Connect call failed")),
         "Operation not permitted"),
        (unreachable(socket.gaierror(-2, "Name or service not known")),
         "Name or service not known"),
        (unreachable(OSError(0, "no such thing")), "no such thing"),
        (unreachable(OSError("Multiple exceptions")), "Multiple exceptions"),
        (aiohttp.ServerDisconnectedError("gone"), "gone"),
        (aiohttp.ClientOSError(), "ClientOSError"),
        (TimeoutError(), "TimeoutError"),
    ],
)  # fmt: skip
def test_what_went_wrong_in_words(error: Exception, words: str) -> None:
    assert describe(error) == words


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("http://h:8080", "http://h:8080"),
        ("https://h/chat/", "https://h/chat"),
        ("ws://h", "http://h"),
        ("https://h/X/XX//", "https://h/X/XX"),
        ("wss://[::1]:1/?x=1#y", "https://[::1]:1"),
    ],
)
def test_the_root(given: str, root: str) -> None:
    assert base_url(given) == root


@pytest.mark.parametrize("given", ["localhost:8080", "ftp://h", "http://", "", "h"])
def test_what_is_no_url(given: str) -> None:
    with pytest.raises(ValueError, match="http"):
        base_url(given)
