from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from chatsvc.client import Connected, Disconnected, GaveUp
from testkit.client_events import soon, until
from testkit.scripted_server import ScriptedServer

Connect = Callable[..., Any]


class Tokens:
    """Gives ``token-1``, ``token-2``, …"""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        return f"token-{self.asked}"


@pytest.mark.parametrize("code", [4001, 4002, 4003])
async def test_a_refused_token_is_replaced_by_a_fresh_one(
    server: ScriptedServer, connect: Connect, code: int
) -> None:
    await connect(Tokens())
    peer = await server.greet()
    assert peer.token == "token-1"
    await peer.close(code, "no good")
    assert (await server.greet()).token == "token-2"


async def test_a_token_is_kept_while_nobody_refuses_it(
    server: ScriptedServer, connect: Connect
) -> None:
    tokens = Tokens()
    await connect(tokens)
    for _ in range(3):
        peer = await server.greet()
        assert peer.token == "token-1"
        peer.drop()
    assert tokens.asked == 1


async def test_a_function_may_also_just_return_it(server: ScriptedServer, connect: Connect) -> None:
    await connect(lambda: "plain")
    assert (await server.accept()).token == "plain"


@pytest.mark.parametrize("code", [4001, 4002, 4003])
async def test_without_another_token_it_gives_up(
    server: ScriptedServer, connect: Connect, code: int
) -> None:
    client = await connect("the-only-one")
    peer = await server.greet()
    await peer.close(code, "no good")
    with pytest.raises(GaveUp, match="no other"):
        await soon(client, type(None))
    with pytest.raises(GaveUp):
        await client.wait_connected()


@pytest.mark.parametrize(("status", "code"), [(401, 4001), (403, 4003)])
@pytest.mark.parametrize("content_type", ["application/problem+json", "text/html"])
async def test_a_refused_upgrade_says_the_same(
    server: ScriptedServer, connect: Connect, status: int, code: int, content_type: str
) -> None:
    server.refusals.append(web.Response(status=status, content_type=content_type))
    client = await connect(Tokens())
    assert (await soon(client, Disconnected)).code == code
    assert (await server.greet()).token == "token-2"
    await soon(client, Connected)


async def test_what_is_wrong_with_the_token_is_told(
    server: ScriptedServer, connect: Connect
) -> None:
    challenge = 'Bearer error="invalid_token", error_description="the token expired"'
    server.refusals.append(web.Response(status=401, headers={"WWW-Authenticate": challenge}))
    client = await connect("the-only-one")
    lost = await soon(client, Disconnected)
    assert (lost.code, lost.retry_in) == (4001, None)
    assert "the token expired" in lost.reason


@pytest.mark.parametrize("status", [401, 403])
async def test_what_a_proxy_refuses_is_tried_again_with_the_only_token(
    server: ScriptedServer, connect: Connect, status: int
) -> None:
    basic = {"WWW-Authenticate": 'Basic realm="of the proxy"'}
    for _ in range(3):
        page = web.Response(status=status, text="<html>", content_type="text/html", headers=basic)
        server.refusals.append(page)
    client = await connect("the-only-one")
    lost = await soon(client, Disconnected)
    assert lost.code in (4001, 4003)
    assert lost.retry_in is not None
    assert (await server.greet()).token == "the-only-one"
    await soon(client, Connected)


@pytest.mark.parametrize("status", [401, 403])
async def test_what_the_server_itself_refuses_is_final_for_the_only_token(
    server: ScriptedServer, connect: Connect, status: int
) -> None:
    server.refusals.append(web.Response(status=status, content_type="application/problem+json"))
    client = await connect("the-only-one")
    with pytest.raises(GaveUp, match="no other"):
        await soon(client, type(None))


@pytest.mark.parametrize("status", [302, 400, 404, 408, 418, 421, 451, 500, 502, 504, 530])
async def test_any_other_answer_to_the_handshake_is_tried_again(
    server: ScriptedServer, connect: Connect, status: int
) -> None:
    server.refusals.append(web.Response(status=status, text="<html>", content_type="text/html"))
    client = await connect("the-only-one")
    assert str(status) in (await soon(client, Disconnected)).reason
    await server.greet()
    await soon(client, Connected)


async def test_an_upgrade_refused_for_now_waits_as_long_as_asked(
    server: ScriptedServer, connect: Connect
) -> None:
    server.refusals.append(web.Response(status=503, headers={"Retry-After": "0.02"}))
    client = await connect(draw=lambda: 0.0)
    assert (await soon(client, Disconnected)).retry_in == 0.02
    await server.greet()
    await soon(client, Connected)


async def test_it_gives_up_after_so_many_attempts(server: ScriptedServer, connect: Connect) -> None:
    for _ in range(3):
        server.refusals.append(web.Response(status=502))
    client = await connect(max_attempts=3)
    with pytest.raises(GaveUp, match="3 attempts"):
        await soon(client, type(None))
    assert len(server.refusals) == 0


async def test_nobody_listening_is_an_attempt(server: ScriptedServer, connect: Connect) -> None:
    from chatsvc.client import Backoff, ChatClient

    backoff = Backoff(first=0.001, maximum=0.001)
    url = "http://127.0.0.1:1"
    async with ChatClient(url, "t", max_attempts=2, backoff=backoff) as client:
        lost = await soon(client, Disconnected)
        assert lost.code == 1006
        assert "cannot connect" in lost.reason
        with pytest.raises(GaveUp):
            await soon(client, type(None))


async def test_a_function_that_fails_is_asked_again(
    server: ScriptedServer, connect: Connect
) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("the login is away")
        return "good"

    client = await connect(token)
    assert "the login is away" in (await soon(client, Disconnected)).reason
    assert (await server.accept()).token == "good"


async def test_a_token_that_ends_soon_is_renewed_on_the_open_socket(
    server: ScriptedServer, connect: Connect
) -> None:
    tokens = Tokens()
    client = await connect(tokens)
    peer = await server.greet()
    await peer.say({"type": "auth_expiring", "in_seconds": 30})
    heard = await peer.hear()
    assert (heard["type"], heard["token"]) == ("auth", "token-2")
    await peer.say({"type": "auth_ok", "expires_at": 2_000_000_000, "ref": heard["ref"]})
    await peer.close(1001)
    await soon(client, Disconnected)
    assert (await server.accept()).token == "token-2"


async def test_a_token_that_keeps_ending_soon_is_renewed_once_at_a_time(
    server: ScriptedServer, connect: Connect
) -> None:
    asked = 0
    log_in = asyncio.Event()

    async def token() -> str:
        nonlocal asked
        asked += 1
        if asked > 1:
            await log_in.wait()
        return f"token-{asked}"

    await connect(token)
    peer = await server.greet()
    await peer.say(*[{"type": "auth_expiring", "in_seconds": 50}] * 20)
    await until(lambda: asked == 2)
    log_in.set()
    assert (await peer.hear())["token"] == "token-2"
    await peer.socket.ping()
    await peer.say({"type": "auth_expiring", "in_seconds": 50})
    assert (await peer.hear())["token"] == "token-3"
    assert asked == 3


async def test_a_login_is_not_stormed_by_a_server_that_refuses_every_token(
    server: ScriptedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsvc.client.tokens.REFRESH_SECONDS", 3600)
    tokens = Tokens()
    await connect(tokens)
    for number in (1, 2):
        peer = await server.greet()
        assert peer.token == f"token-{number}"
        await peer.close(4001, "no good")
    await until(lambda: tokens.asked == 2)
    assert server.connections == 2


@pytest.mark.parametrize("error", [OSError("away"), KeyError("x"), asyncio.CancelledError(), None])
async def test_a_function_that_gives_no_token_does_not_end_the_client(
    server: ScriptedServer, connect: Connect, error: BaseException | None
) -> None:
    asked = 0

    async def token() -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            if error is not None:
                raise error
            return None
        return "line\nbreak" if asked == 2 else "good"

    client = await connect(token)
    assert "no token" in (await soon(client, Disconnected)).reason
    assert "printable ASCII" in (await soon(client, Disconnected)).reason
    assert (await server.accept()).token == "good"


async def test_a_string_that_ends_soon_is_warned_of(
    server: ScriptedServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect("the-only-one")
    peer = await server.greet()
    await soon(client, Connected)
    await peer.say({"type": "auth_expiring", "in_seconds": 30})
    await until(lambda: "ends soon" in caplog.text)
