"""Commands that a feature declares, on a socket."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from chatsvc.api.access import ANYBODY, USER, Access
from chatsvc.api.command import Command, CommandReply, Connection
from chatsvc.auth.principal import Principal
from chatsvc.core.errors import Forbidden, LogUnavailable
from chatsvc.server.websocket.budget import BURST, RATE
from chatsvc.wire import frames
from chatsvc_conformance.framing import client_frame
from tests.unit.support.socket_world import World, kinds, last_frame, turns
from tests.unit.support.sockets import texts


class Wave(msgspec.Struct, tag="wave", forbid_unknown_fields=True, kw_only=True):
    """Wave at a user."""

    user: str
    ref: str | None = None


class Waved(msgspec.Struct, tag="waved", omit_defaults=True, kw_only=True):
    """It was seen."""

    connection: str
    ref: str | None = None


def command(handler: Any, **options: Any) -> Command:
    return Command(request=Wave, answers=(Waved,), handler=handler, **options)


def wave(ref: str, user: str = "bob") -> bytes:
    return client_frame(frames.TEXT, msgspec.json.encode(Wave(user=user, ref=ref)))


def used(world: World, socket: Any) -> float:
    return max(0.0, socket.spent_until - asyncio.get_running_loop().time()) * RATE


async def test_its_answer_its_charge_and_the_connection_it_came_over() -> None:
    origins: list[str] = []

    def handle(connection: Connection, request: Wave) -> CommandReply:
        origins.append(connection.origin)
        return CommandReply(Waved(connection=connection.connection_id, ref=request.ref))

    world = World([command(handle, units=50)])
    socket, transport = world.open()
    socket.data_received(wave("w"))
    await turns()
    assert texts(transport.wire)[1:] == [{"type": "waved", "connection": "c1", "ref": "w"}]
    assert origins == ["phone/c1"]
    assert 49 < used(world, socket) <= 50


async def test_one_that_exceeds_the_rate_is_not_run() -> None:
    ran: list[Any] = []
    world = World([command(lambda *call: ran.append(call), units=BURST + 1)])
    socket, transport = world.open()
    socket.data_received(wave("w"))
    assert last_frame(transport)[1][:2] == (1008).to_bytes(2, "big")
    assert ran == []


async def test_who_may_not_is_refused_and_charged() -> None:
    admins = Access(roles=frozenset({"admin"}))
    world = World([command(lambda *_: CommandReply(None), access=admins)])
    socket, transport = world.open()
    socket.data_received(wave("w"))
    await turns()
    assert texts(transport.wire)[1]["code"] == "forbidden"
    assert 0 < used(world, socket) <= 1
    roles = frozenset({"user", "admin"})
    admin, allowed = world.open(principal=Principal("root", int(time.time()) + 60, roles))
    admin.data_received(wave("w"))
    await turns()
    assert kinds(allowed) == ["hello"], "no answer, and no error"
    assert used(world, admin) == 0.0


@pytest.mark.parametrize("access", [ANYBODY, Access(), USER])
async def test_what_anybody_may_the_users_of_sockets_may(access: Access) -> None:
    world = World([command(lambda *_: CommandReply(Waved(connection="c")), access=access)])
    socket, transport = world.open()
    socket.data_received(wave("w"))
    await turns()
    assert kinds(transport) == ["hello", "waved"]


async def test_a_scope_that_is_missing_is_named() -> None:
    access = Access(scopes=frozenset({"wave"}))
    world = World([command(lambda *_: CommandReply(None), access=access)])
    socket, transport = world.open()
    socket.data_received(wave("w"))
    await turns()
    assert texts(transport.wire)[1]["detail"] == "the token must have the scope wave"


async def test_the_reply_is_made_of_the_result_and_charges_what_it_says() -> None:
    futures: list[asyncio.Future[str]] = []

    def handle(connection: Connection, request: Wave) -> asyncio.Future[str]:
        futures.append(asyncio.get_running_loop().create_future())
        return futures[-1]

    def reply(result: str, ref: str | None) -> CommandReply:
        return CommandReply(Waved(connection=result, ref=ref), units=30)

    world = World([command(handle, reply=reply)])
    socket, transport = world.open()
    socket.data_received(wave("1") + wave("2"))
    assert len(futures) == 2, "a plain future holds nothing up"
    futures[1].set_result("two")
    futures[0].set_result("one")
    await turns()
    waved = [(one["connection"], one["ref"]) for one in texts(transport.wire)[1:]]
    assert waved == [("two", "2"), ("one", "1")]
    assert 59 < used(world, socket) <= 60


@pytest.mark.parametrize(("units", "cost"), [(0, 1), (10, 10 + 1 + 5)])
async def test_a_future_that_fails_costs_by_size_where_the_log_bounds_nothing(
    units: int, cost: int
) -> None:
    def handle(connection: Connection, request: Wave) -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        future.set_exception(LogUnavailable("full"))
        return future

    world = World([command(handle, units=units)])
    socket, transport = world.open()
    socket.data_received(wave("w", user="x" * 5 * 4096))
    await turns()
    assert texts(transport.wire)[1]["type"] == "error"
    assert cost - 1 < used(world, socket) <= cost


class Odd(msgspec.Struct, tag="odd", kw_only=True):
    """Holds what JSON cannot."""

    value: Any = None
    ref: str | None = None


def _unencodable(result: Any, ref: str | None) -> CommandReply:
    return CommandReply(Odd(value=object(), ref=ref), units=500)


def _lone_surrogate(result: Any, ref: str | None) -> CommandReply:
    raise Forbidden("\ud83d")


def _no_reply(result: Any, ref: str | None) -> Any:
    return None


def _raises(result: Any, ref: str | None) -> CommandReply:
    raise LookupError


@pytest.mark.parametrize("reply", [_unencodable, _lone_surrogate, _no_reply, _raises])
@pytest.mark.parametrize("waits", [True, False])
async def test_an_answer_that_cannot_be_made_is_an_internal_error_and_blocks_nothing(
    reply: Any, waits: bool
) -> None:
    def handle(connection: Connection, request: Wave) -> Any:
        if not waits:
            return reply(None, request.ref)
        return asyncio.get_running_loop().create_task(asyncio.sleep(0))

    world = World([command(handle, reply=reply)])
    socket, transport = world.open()
    with capture_logs() as logs:
        socket.data_received(wave("1") + wave("2"))
        for _ in range(3):
            await turns()
    answers = [(one["code"], one["ref"]) for one in texts(transport.wire)[1:]]
    assert answers == [("internal_error", "1"), ("internal_error", "2")]
    assert used(world, socket) <= 2, "the answer that was not sent is not charged"
    assert (socket.unanswered, socket.pending, socket.blocked) == (0, None, False)
    event = "command_failed" if waits else "frame_failed"
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [event] * 2


async def test_a_socket_is_one_object_and_no_larger_than_its_slots_were() -> None:
    """Whoever adds a slot decides about the memory of every idle connection."""
    socket, _ = World().open()
    assert sys.getsizeof(socket) <= 304
    assert not hasattr(socket, "__dict__")
