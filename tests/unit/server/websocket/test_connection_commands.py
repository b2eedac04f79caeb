"""``ping`` and ``auth``."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from chatsvc.auth.principal import Principal
from chatsvc.core.errors import TokenExpired, Unauthorized, Unavailable
from chatsvc.server import token_check
from chatsvc.server.websocket.budget import AUTH_UNITS, RATE
from chatsvc.wire import frames
from chatsvc_conformance.framing import client_frame
from testkit.waiting import until
from tests.unit.support.socket_world import World, kinds, last_frame, send, turns
from tests.unit.support.sockets import texts

AUTH = client_frame(frames.TEXT, b'{"type":"auth","token":"t","ref":"a"}')
PING = client_frame(frames.TEXT, b'{"type":"ping","ref":"p"}')


class Remote:
    """An authenticator that knows nothing by itself, and answers when the test says so."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.answer: Principal | Exception = Principal("alice", int(time.time()) + 999)

    def known(self, token: str) -> Principal | None:
        return None

    async def authenticate(self, token: str) -> Principal:
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_token_that_is_known_is_accepted_at_once() -> None:
    world = World()
    socket, transport = world.open("t")
    before = socket.expires_at
    socket.data_received(AUTH + PING)
    assert socket.expires_at != before
    assert socket.pending is None
    await turns()
    assert kinds(transport) == ["hello", "a", "p"]


async def test_sends_behind_a_token_that_is_asked_about_wait() -> None:
    remote = Remote()
    world = World(authenticator=remote)
    socket, transport = world.open()
    socket.data_received(AUTH + send("later"))
    await turns()
    assert kinds(transport) == ["hello"]
    assert world.asked == []
    remote.gate.set()
    await turns()
    assert kinds(transport) == ["hello", "a"]
    assert socket.expires_at == remote.answer.expires_at  # type: ignore[union-attr]
    assert [content for content, _ in world.asked] == ["later"]
    assert transport.reading


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unauthorized("no signature of ours"), "token_invalid"),
        (TokenExpired("it has expired"), "token_expired"),
        (Unavailable("the login does not answer", retry_after=2.0), "unavailable"),
        (ZeroDivisionError(), "internal_error"),
    ],
)
async def test_what_refuses_a_token_is_told_and_the_old_one_is_kept(
    error: Exception, code: str
) -> None:
    remote = Remote()
    remote.answer = error
    socket, transport = World(authenticator=remote).open()
    before = socket.expires_at
    remote.gate.set()
    with capture_logs() as logs:
        socket.data_received(AUTH)
        await turns()
    (answer,) = texts(transport.wire)[1:]
    assert (answer["type"], answer["ref"]) == ("error", "a")
    assert answer["code"] == code
    assert answer.get("retry_after") == getattr(error, "retry_after", None)
    assert socket.expires_at == before
    assert not transport.is_closing()
    events = [line["event"] for line in logs]
    expected = {
        Unavailable: [], ZeroDivisionError: ["command_failed"],
    }.get(type(error), ["auth_refused"])  # fmt: skip
    assert events == expected
    used = (socket.spent_until - asyncio.get_running_loop().time()) * RATE
    assert AUTH_UNITS < used <= AUTH_UNITS + 1, "the refusal itself counts too"


async def test_another_users_token_closes_the_socket_without_an_answer() -> None:
    remote = Remote()
    remote.answer = Principal("mallory", int(time.time()) + 999)
    socket, transport = World(authenticator=remote).open()
    remote.gate.set()
    with capture_logs() as logs:
        socket.data_received(AUTH + PING)
        await turns()
    assert kinds(transport) == ["hello", "p"]
    assert last_frame(transport)[1] == (4003).to_bytes(2, "big") + b"another user's token"
    refused = [line for line in logs if line["event"] == "auth_refused"]
    assert [(line["code"], line["user"]) for line in refused] == [("forbidden", "alice")]


async def test_a_token_that_is_not_told_about_in_time_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_check, "TOKEN_SECONDS", 0.01)
    world = World(authenticator=Remote())
    socket, transport = world.open()
    socket.data_received(AUTH + send("behind"))
    await until(lambda: "a" in kinds(transport))
    (answer,) = texts(transport.wire)[1:]
    assert (answer["type"], answer["code"], answer["ref"]) == ("error", "unavailable", "a")
    assert answer["retry_after"] > 0
    await until(lambda: [content for content, _ in world.asked] == ["behind"])


async def test_a_time_limit_of_the_authenticators_own_is_an_error_of_its() -> None:
    remote = Remote()
    remote.answer = TimeoutError()
    remote.gate.set()
    socket, transport = World(authenticator=remote).open()
    socket.data_received(AUTH)
    await turns()
    assert texts(transport.wire)[-1]["code"] == "internal_error"


async def test_a_refusal_is_sent_before_a_broken_frame_closes_the_socket() -> None:
    remote = Remote()
    remote.answer = Unauthorized("no")
    socket, transport = World(authenticator=remote).open()
    socket.data_received(AUTH + client_frame(frames.CLOSE, (1005).to_bytes(2, "big")))
    await turns()
    assert not socket.sealed
    remote.gate.set()
    await turns()
    assert kinds(transport) == ["hello", "a"]
    assert last_frame(transport)[1][:2] == (1002).to_bytes(2, "big")
    assert transport.half_closed


async def test_a_token_that_comes_when_the_socket_is_closing_changes_nothing() -> None:
    """The timer is that of the closing handshake by then."""
    remote = Remote()
    socket, transport = World(authenticator=remote).open()
    socket.data_received(AUTH)
    await turns()
    socket.close(1012, "restart")
    timer = socket.timer
    assert timer is not None
    remote.gate.set()
    await turns()
    assert socket.timer is timer
    assert not timer.cancelled()
    assert kinds(transport) == ["hello"]
    transport.lose()
    assert socket.renew(Principal("alice", 1)) is False


async def test_a_new_token_brings_its_roles() -> None:
    more = Principal("t", int(time.time()) + 60, frozenset({"user", "admin"}), frozenset({"x"}))
    world = World()
    world.authenticator.principal_of = lambda token: more
    socket, _ = world.open("t")
    assert (socket.roles, socket.scopes) == (frozenset({"user"}), frozenset())
    socket.data_received(AUTH)
    assert (socket.roles, socket.scopes) == (more.roles, more.scopes)
