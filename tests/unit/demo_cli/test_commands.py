from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator

import pytest

from demo_cli.arguments import parse
from demo_cli.commands import run
from demo_cli.exits import Exit, Failure
from demo_cli.login import user_of
from testkit.scripted_server import ScriptedServer, cursor, message, message_id

Capture = pytest.CaptureFixture[str]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().serve() as running:
        yield running


def jwt(**claims: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"x.{payload}.y"


async def call(server: ScriptedServer, *argv: str, token: str | None = None) -> int:
    given = ["--token", token] if token else []
    return await run(parse([*argv, "--url", server.url, *given]))


async def test_send(server: ScriptedServer, capsys: Capture) -> None:
    server.answer(201, message(1))
    status = await call(server, "send", "bob", "hi", "--client-id", "c", token=jwt(sub="alice"))
    assert status == Exit.OK
    assert capsys.readouterr().out == f"sent {message_id(1)}\n"
    body = json.loads(await server.requests[0].read())
    assert body == {"participants": ["bob", "alice"], "content": "hi", "client_id": "c"}


async def test_a_repeated_client_id_says_so(server: ScriptedServer, capsys: Capture) -> None:
    server.answer(200, message(1))
    assert await call(server, "send", "bob", "hi", "--client-id", "c", token=jwt(id="alice")) == 0
    out = capsys.readouterr().out
    assert out == f"sent {message_id(1)} (accepted before, under the same client_id)\n"
    server.answer(409, {"code": "client_id_conflict", "detail": "other", "id": message_id(1)})
    with pytest.raises(Failure, match=f"the first message .* is {message_id(1)}"):
        await call(server, "send", "bob", "no", "--client-id", "c", token=jwt(id="alice"))


async def test_a_space_instead_of_a_comma_is_noted(server: ScriptedServer, capsys: Capture) -> None:
    for name, token in (("bob carol", jwt(id="alice")), ("anna maria,bob", jwt(id="anna maria"))):
        server.answer(201, message(1))
        assert await call(server, "send", name, "hi", token=token) == Exit.OK
    err = capsys.readouterr().err
    assert err == (
        "chatsvc-demo: 'bob carol' is taken as one user id: several are joined by commas\n"
    )


async def test_send_reads_standard_input(
    server: ScriptedServer, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("two\nlines"))
    server.answer(200, message(1))
    await call(server, "send", "alice,bob", "-", "--json", token=jwt(id="alice"))
    assert json.loads(await server.requests[0].read())["content"] == "two\nlines"
    assert json.loads(capsys.readouterr().out)["duplicate"] is True


async def test_the_development_login_is_asked(server: ScriptedServer, capsys: Capture) -> None:
    server.answer(200, {"token": "fresh", "user": "alice", "expires_at": 1})
    server.answer(200, {"connections": {"bob\x1b": 2}})
    assert await call(server, "who", "bob", "--user", "alice") == Exit.OK
    asked, who = server.requests
    assert asked.path == "/api/dev/token"
    assert json.loads(await asked.read()) == {"user": "alice"}
    assert who.headers["Authorization"] == "Bearer fresh"
    assert capsys.readouterr().out == "bob\\x1b: 2\n"


async def test_history(server: ScriptedServer, capsys: Capture) -> None:
    server.history = [message(1, "\x1b[2J"), message(2, "b")]
    assert await call(server, "history", "bob", token=jwt(id="alice")) == Exit.OK
    assert server.requests[0].query["participants"] == "bob,alice"
    assert capsys.readouterr().out == (
        "[Channel: alice, bob]\n"
        "2026-11-21 12:00  bob: \\x1b[2J\n"
        "2026-11-21 12:00  bob: b\n"
    )  # fmt: skip


async def test_lines_of_json_are_ascii(server: ScriptedServer, capsys: Capture) -> None:
    server.history = [message(1, "8-bit \x9b31m ä")]
    server.complete = False
    assert await call(server, "history", "bob", "--json", token="t") == Exit.OK
    captured = capsys.readouterr()
    assert captured.out.isascii()
    assert json.loads(captured.out) == server.history[0]
    assert "database is away" in captured.err


async def test_listen_counts_and_goes_on_after_a_reconnect(
    server: ScriptedServer, capsys: Capture
) -> None:
    token = jwt(id="alice")
    listening = asyncio.create_task(
        call(server, "listen", "--count", "2", "--since", cursor(0), token=token)
    )
    peer = await server.greet()
    await peer.say(message(1, "one"))
    await peer.close(1012, "restart;retry_after_ms=1")
    peer = await server.greet(at=2, recovered=True)
    await peer.say(message(1, "one"), message(2, "two"))
    async with asyncio.timeout(10):
        assert await listening == Exit.OK
    captured = capsys.readouterr()
    assert captured.out == "[Channel: alice, bob]\nbob: one\n[Channel: alice, bob]\nbob: two\n"
    assert "connected as alice" in captured.err
    assert "disconnected (1012 restart" in captured.err


@pytest.mark.parametrize(("count", "status"), [(["--count", "1"], Exit.TIMED_OUT), ([], Exit.OK)])
async def test_listen_ends_when_the_time_is_up(
    server: ScriptedServer, count: list[str], status: Exit
) -> None:
    assert await call(server, "listen", "--timeout", "0.05", *count, token="t") == status


@pytest.mark.parametrize(
    ("code", "status"), [(4201, Exit.REFUSED), (4001, Exit.REFUSED)]
)  # fmt: skip
async def test_listen_that_is_sent_away(server: ScriptedServer, code: int, status: Exit) -> None:
    listening = asyncio.create_task(call(server, "listen", token="t"))
    await (await server.greet()).close(code)
    with pytest.raises(Failure) as caught:
        await listening
    assert caught.value.exit == status


async def test_failures_have_a_status_and_a_line(server: ScriptedServer) -> None:
    server.answer(403, {"code": "forbidden", "detail": "not \x1b yours"})
    with pytest.raises(Failure, match=r"not \\x1b yours") as caught:
        await call(server, "history", "bob", token="t")
    assert caught.value.exit == Exit.REFUSED

    with pytest.raises(Failure, match="no development login") as caught:
        await call(server, "who", "bob", "--user", "alice")
    assert caught.value.exit == Exit.USAGE

    server.answer(422, {"detail": "a user id must not contain a comma"})
    with pytest.raises(Failure, match="must not contain a comma") as caught:
        await call(server, "listen", "--user", "a,b")
    assert caught.value.exit == Exit.REFUSED

    with pytest.raises(Failure, match="a user is needed") as caught:
        await call(server, "who", "bob")
    assert caught.value.exit == Exit.USAGE

    with pytest.raises(Failure, match="cursor") as caught:
        await call(server, "listen", "--since", "yesterday", token="t")
    assert caught.value.exit == Exit.USAGE


async def test_no_answer_has_a_status_of_its_own() -> None:
    for who in (["--user", "alice"],):
        with pytest.raises(Failure) as caught:
            await run(parse(["who", "bob", "--url", "http://127.0.0.1:1", *who]))
        assert caught.value.exit == Exit.UNREACHABLE


@pytest.mark.parametrize(
    ("token", "user"),
    [(jwt(id="a", sub="b"), "a"), (jwt(sub="b"), "b"), (jwt(), None), ("x", None), ("a.b.c", None)],
)
def test_the_user_that_a_token_names(token: str, user: str | None) -> None:
    assert user_of(token) == user
