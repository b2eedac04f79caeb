"""Floods into one socket: it is closed when it exceeds its rate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from chatsvc.core.errors import LogUnavailable, Unauthorized
from chatsvc.log.base import Appended
from chatsvc.server.websocket.budget import AUTH_UNITS, BURST, TURN_UNITS
from chatsvc.wire import frames
from chatsvc_conformance.framing import client_frame
from testkit.waiting import until
from tests.unit.support.socket_floods import (
    AUTH,
    EMPTY_TEXT,
    JSON_PING,
    PING,
    READ,
    closed,
    feed,
    settled,
)
from tests.unit.support.socket_world import World, kinds, send, turns

SCRAP = client_frame(frames.CONTINUATION, fin=False)


@pytest.fixture
async def world() -> World:
    return World(unacked_max=64)


@pytest.mark.parametrize(
    ("frame", "units"),
    [
        (PING, 1),
        (JSON_PING, 1),
        (EMPTY_TEXT, 1),
        (AUTH, AUTH_UNITS + 1),
        (client_frame(frames.PONG), 1),
    ],
    ids=["ping", "json", "empty", "auth", "pong"],
)
async def test_a_flood_is_closed_with_1008_and_not_looked_at_any_more(
    world: World, frame: bytes, units: int
) -> None:
    asked = []

    def refuse(token: str) -> Any:
        asked.append(token)
        raise Unauthorized("this is no token")

    world.authenticator.principal_of = refuse
    socket, transport = world.open()
    flood = frame * (8_000_000 // len(frame))
    taken = await feed(transport, flood)
    assert closed(transport) == 1008
    assert taken < BURST * len(frame) + 2 * READ, "then it is not even read"
    assert not transport.reading
    assert len(asked) <= BURST / units + 1
    wire = bytes(transport.wire)
    await turns()
    socket.data_received(flood[:READ])
    await turns()
    assert transport.wire == wire
    assert world.hub.size == 0
    assert socket.events == ()


async def test_a_flood_of_good_tokens_is_closed_and_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsvc.server.websocket.closing.CLOSE_SECONDS", 0.01)
    _, transport = world.open()
    await feed(transport, client_frame(frames.TEXT, b'{"type":"auth","token":"alice"}') * 10_000)
    assert closed(transport) == 1008
    answered = kinds(transport).count("auth_ok")
    assert answered == BURST // AUTH_UNITS
    await until(lambda: transport.aborted)


async def test_a_flood_of_scraps_of_a_message(world: World) -> None:
    _, transport = world.open()
    await feed(transport, client_frame(frames.TEXT, fin=False) + SCRAP * 100_000)
    assert closed(transport) == 1008


async def test_a_message_in_large_fragments_costs_nothing(world: World) -> None:
    socket, _ = world.open()
    message = json.dumps({"type": "send", "participants": ["a"], "content": "x" * 15_000}).encode()
    pieces = [message[at : at + 1000] for at in range(0, len(message), 1000)]
    whole = b"".join(
        client_frame(
            frames.TEXT if not at else frames.CONTINUATION, piece, fin=at == len(pieces) - 1
        )
        for at, piece in enumerate(pieces)
    )
    for _ in range(40):
        socket.data_received(whole)
        await settled(socket)
    assert len(world.asked) == 40
    assert socket.spent_until == 0.0


def fails(content: str) -> asyncio.Future[Appended]:
    future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
    future.set_exception(LogUnavailable("full"))
    return future


def repeats(content: str) -> asyncio.Future[Appended]:
    future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
    future.set_result(Appended(1, b"", True))
    return future


@pytest.mark.parametrize("answer", [fails, repeats])
async def test_sends_that_cost_no_commit_count_too(
    world: World, answer: Callable[[str], asyncio.Future[Appended]]
) -> None:
    world.next_future = answer
    _, transport = world.open()
    await feed(transport, send("x") * 900)
    await turns()
    assert not closed(transport)
    await feed(transport, send("x") * 5000)
    await until(lambda: closed(transport) == 1008)


async def test_accepted_sends_do_not_count(world: World) -> None:
    def accept(content: str) -> asyncio.Future[Appended]:
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        future.set_result(Appended(1, b"", False))
        return future

    world.next_future = accept
    socket, transport = world.open()
    await feed(transport, send("x") * 5000)
    await until(lambda: len(world.asked) == 5000)
    await settled(socket)
    assert not closed(transport)


async def test_a_refused_frame_costs_by_its_size(world: World) -> None:
    _, transport = world.open()
    frame = client_frame(frames.TEXT, b'{"type":"send","metadata":"' + b"x" * 200_000 + b'"}')
    count = 0
    while not closed(transport):
        await feed(transport, frame)
        await turns()
        count += 1
    assert count <= BURST / 48 + 1


async def test_few_tokens_are_looked_at_in_one_turn(world: World) -> None:
    asked: list[str] = []

    def refuse(token: str) -> Any:
        asked.append(token)
        raise Unauthorized("this is no token")

    world.authenticator.principal_of = refuse
    socket, transport = world.open()
    socket.data_received(AUTH * 20)
    seen = [len(asked)]
    while len(asked) < 20:
        await asyncio.sleep(0)
        seen.append(len(asked))
    assert (
        max(b - a for a, b in zip([0, *seen], seen, strict=False)) <= 1 + TURN_UNITS // AUTH_UNITS
    )
    await settled(socket)
    assert kinds(transport).count("error") == 20
