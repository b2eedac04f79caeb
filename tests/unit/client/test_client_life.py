"""A client from its making to its end: what it begins with, how it gives up, how it is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import pytest

from chatsvc.client import (
    Backoff,
    ChatClient,
    ClientClosed,
    Connected,
    Disconnected,
    GaveUp,
    QueueFull,
)
from chatsvc.client import client as module
from chatsvc.client.events import decode_received
from testkit.client_events import contents, soon, until
from testkit.scripted_server import (
    EPOCH,
    PATIENCE,
    ScriptedServer,
    cursor,
    message,
    message_id,
)

Connect = Callable[..., Any]
NOWHERE = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Noted(Backoff):
    """Does not wait; notes the number that was drawn each time."""

    drawn: list[float] = field(default_factory=list)

    def wait(self, failures: int, draw: float, retry_after: float | None = None) -> float:
        self.drawn.append(draw)
        return 0.0


async def test_what_a_client_has_that_is_given_nothing(server: ScriptedServer) -> None:
    async with ChatClient(server.url, "token") as client:
        assert (client.hello, client.cursor, client.connected) == (None, None, False)
        peer = await server.accept()
        assert dict(peer.request.query) == {}, "neither echo nor receipts, no device, no cursor"
        assert client._context.backoff == Backoff(first=1.0, maximum=30.0)


async def test_a_thousand_messages_may_wait_for_the_consumer() -> None:
    inbox = ChatClient(NOWHERE, "t")._context.inbox
    for number in range(1000):
        assert not inbox.full
        inbox.put_record(decode_received(json.dumps(message(number)).encode(), EPOCH))
    assert inbox.full


async def test_a_thousand_sends_may_wait_for_their_acks() -> None:
    outbox = ChatClient(NOWHERE, "t")._context.outbox
    for _ in range(1000):
        outbox.add(outbox.reserve(), b"", cast("Any", None))
    with pytest.raises(QueueFull, match="1000 sends"):
        outbox.reserve()


async def test_a_client_is_entered_once(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    with pytest.raises(RuntimeError, match="must not be entered twice"):
        await client.__aenter__()
    await server.greet()
    await soon(client, Connected)


async def test_its_task_has_a_name(server: ScriptedServer, connect: Connect) -> None:
    await connect()
    await server.greet()
    assert "chatsvc.client" in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_client_that_was_never_entered_can_be_closed() -> None:
    client = ChatClient(NOWHERE, "t")
    await client.close()
    with pytest.raises(ClientClosed, match=r"^the client was closed$"):
        await client.send(["alice"], "hi")
    with pytest.raises(ClientClosed):
        await client.wait_connected()
    assert [event async for event in client.events()] == []
    assert not client.connected


async def test_every_wait_is_jittered_by_the_callers_draw_and_backoff(
    server: ScriptedServer, connect: Connect
) -> None:
    backoff = Noted()
    client = await connect(backoff=backoff, draw=lambda: 0.25)
    (await server.accept()).drop()
    peer = await server.greet()
    await soon(client, Connected)
    assert backoff.drawn == [0.25], "before it connects again"
    sending = asyncio.create_task(client.send(["alice", "bob"], "hi"))
    frame = await peer.hear()
    await peer.say({"type": "error", "ref": frame["ref"], "code": "log_unavailable", "detail": ""})
    await peer.ack(1, await peer.hear())
    await sending
    assert backoff.drawn == [0.25] * 2, "before it sends again"
    server.answer(503)
    server.answer(200, {"connections": {}})
    await client.connections([])
    assert backoff.drawn == [0.25] * 3, "before it calls again"
    server.answer(200, {"messages": [], "complete": False})
    server.history = [message(3)]
    await peer.say({"type": "gap", "from": message_id(0), "to": message_id(3)})
    assert await contents(client, 1) == ["number 3"]
    assert backoff.drawn == [0.25] * 4, "before it fetches again"


async def test_connecting_takes_fifteen_seconds_at_most(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.CONNECT_SECONDS == 15.0
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.01)

    async def never() -> str:
        await asyncio.Event().wait()
        return "never"

    client = await connect(never)
    lost = await soon(client, Disconnected)
    assert (lost.code, lost.reason) == (1006, "cannot connect: TimeoutError")


async def test_a_connection_that_had_a_hello_is_no_failed_attempt(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(max_attempts=1)
    for _ in range(3):
        peer = await server.greet()
        await soon(client, Connected)
        peer.drop()
    (await server.accept()).drop()
    with pytest.raises(GaveUp, match="no connection in 1 attempts"):
        await soon(client, type(None))


async def test_after_it_gave_up_everything_says_so(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    waiting = asyncio.create_task(client.send(["alice", "bob"], "hi"))
    peer = await server.greet()
    await peer.hear()
    await peer.close(4201, "banned")
    with pytest.raises(GaveUp) as caught:
        await waiting
    failure = caught.value
    assert (failure.code, failure.reason) == (4201, "banned")
    assert failure.why == "the server asks not to come back"
    lost = await soon(client, Disconnected)
    assert lost == Disconnected(4201, "banned", None)
    for call in (client.wait_connected, client.__anext__, lambda: client.send(["alice"], "hi")):
        with pytest.raises(GaveUp) as caught:
            await call()
        assert caught.value is failure
    await client.close()
    with pytest.raises(GaveUp):
        await client.send(["alice"], "hi")
    assert (client.unsent, client.connected) == (0, False)


async def test_a_fault_of_the_client_ends_every_wait(
    server: ScriptedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = RuntimeError("broken")

    async def fail(*_: Any) -> None:
        raise broken

    client = await connect()
    waiting = asyncio.create_task(client.send(["alice", "bob"], "hi"))
    monkeypatch.setattr("chatsvc.client.session.Session.run", fail)
    await server.greet()
    with pytest.raises(GaveUp) as caught:
        await waiting
    failure = caught.value
    assert (failure.code, failure.reason) == (1006, "")
    assert failure.why == "the client failed: RuntimeError('broken')"
    assert failure.__cause__ is broken
    with pytest.raises(GaveUp):
        await soon(client, Disconnected)
    with pytest.raises(GaveUp):
        await client.wait_connected()


async def test_a_send_that_was_acknowledged_is_left_by_the_end(
    server: ScriptedServer, connect: Connect
) -> None:
    """Its caller went away; nobody is there to be told."""
    client = await connect()
    peer = await server.greet()
    gone, waiting = [asyncio.create_task(client.send(["alice"], text)) for text in "ab"]
    await peer.hear()
    await peer.hear()
    gone.cancel()
    await client.close()
    with pytest.raises(ClientClosed):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_nobody_is_waited_for_who_does_not_answer_the_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.001)

    class Hangs:
        async def close(self) -> None:
            await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE):
        await module._close(cast("aiohttp.ClientWebSocketResponse[bool]", Hangs()))


class Tokens:
    """Gives ``token-1``, ``token-2``, …"""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return f"token-{self.asked}"


async def refuse_a_call(server: ScriptedServer, client: ChatClient) -> None:
    """The token at hand is replaced by a call of the HTTP interface."""
    server.answer(401, {"code": "token_expired"})
    server.answer(200, {"connections": {}})
    await client.connections([])


async def test_a_token_that_a_call_renewed_is_used_by_the_next_connection(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(tokens := Tokens())
    peer = await server.greet()
    await soon(client, Connected)
    await refuse_a_call(server, client)
    await peer.close(4001, "token_invalid")
    assert (await server.greet()).token == "token-2"
    assert tokens.asked == 2


async def test_a_token_that_a_call_renewed_renews_the_connection(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(tokens := Tokens())
    peer = await server.greet()
    await soon(client, Connected)
    await refuse_a_call(server, client)
    await peer.say({"type": "auth_expiring", "in_seconds": 30})
    assert (await peer.hear())["token"] == "token-2"
    assert tokens.asked == 2
    await refuse_a_call(server, client)
    await peer.close(4001, "token_invalid")
    assert (await server.greet()).token == "token-3"
    assert tokens.asked == 3


async def test_a_token_that_renewed_the_connection_is_the_one_that_is_refused(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect(Tokens())
    peer = await server.greet()
    await peer.say({"type": "auth_expiring", "in_seconds": 30})
    assert (await peer.hear())["token"] == "token-2"
    await until(lambda: client._context.tokens._token == "token-2")
    await peer.close(4002, "token_expired")
    assert (await server.greet()).token == "token-3"


async def test_a_cursor_of_before_is_where_it_resumes(
    server: ScriptedServer, connect: Connect
) -> None:
    await connect(since=cursor(4), device="tv", echo=True, receipts=True)
    peer = await server.accept()
    assert dict(peer.request.query) == {
        "since": cursor(4), "device": "tv", "echo": "true", "receipts": "stored",
    }  # fmt: skip
