"""How one connection begins and ends, with a socket in the test's hand."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import WSMsgType

from chatsvc.client import Connected, MessageReceived
from chatsvc.client.context import Closed, Context
from chatsvc.client.session import Session
from chatsvc.core.ids import parse_id
from chatsvc.wire import protocol as wire
from testkit.scripted_server import EPOCH, PATIENCE, cursor, message, message_id
from tests.unit.support.client_context import context

HELLO = {"type": "hello", "user": "alice", "epoch": EPOCH, "cursor": cursor(3)}


class Socket:
    """Says what a test lined up, and then that it is closed."""

    def __init__(self, *said: Any) -> None:
        self.said = deque(said)
        self.timeouts: list[float | None] = []
        self.codes: list[int | None] = []
        self.hangs = False

    async def receive(self, timeout: float | None = None) -> Any:
        self.timeouts.append(timeout)
        await asyncio.sleep(0)
        said = self.said.popleft() if self.said else (WSMsgType.CLOSED, None, None)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, dict):
            said = (WSMsgType.TEXT, json.dumps(said).encode(), "")
        return SimpleNamespace(type=said[0], data=said[1], extra=said[2])

    async def close(self, *, code: int | None = None) -> None:
        self.codes.append(code)
        if self.hangs:
            await asyncio.Event().wait()


def session_of(socket: Socket, state: Context | None = None) -> Session:
    given = cast("aiohttp.ClientWebSocketResponse[bool]", socket)
    return Session(given, state or context(), "token")


async def test_a_hello_is_waited_for_ten_seconds() -> None:
    socket = Socket(TimeoutError())
    assert await session_of(socket).start() == Closed(4103, "nothing came for 10 s")
    assert socket.timeouts == [10.0]
    assert len(socket.codes) == 1


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ({"type": "hello"}, "the first frame must be a hello: "),
        ({"type": "message"}, "the first frame must be a hello: "),
        ((WSMsgType.TEXT, b"[]", ""), "the first frame must be a hello: "),
        (HELLO | {"cursor": "3"}, "the cursor of hello must be epoch.id"),
        ((WSMsgType.CLOSED, None, None), "the connection was lost"),
    ],
)
async def test_without_a_hello_there_is_no_connection(first: Any, reason: str) -> None:
    state = context()
    closed = await session_of(Socket(first), state).start()
    assert isinstance(closed, Closed)
    assert (closed.code, closed.lasted) == (1006, None)
    assert closed.reason.startswith(reason)
    assert (state.inbox.epoch, len(state.inbox)) == (None, 0)


async def test_a_hello_says_where_a_fresh_client_stands() -> None:
    state = context()
    hello = await session_of(Socket(HELLO), state).start()
    assert isinstance(hello, wire.Hello)
    assert (state.inbox.epoch, state.inbox.position) == (EPOCH, parse_id(message_id(3)))
    assert await state.inbox.get() == Connected(hello, cursor(3))


async def test_a_hello_names_the_servers_time() -> None:
    state = context()
    await session_of(Socket(HELLO | {"server_time": "2016-05-04T03:02:01.000Z"}), state).start()
    assert state.api.clock.now_ms() // 1000 == 1_462_330_921


@pytest.mark.parametrize(
    ("heartbeat", "silence"),
    [(30.0, 75.0), (0.5, 1.25), (1.0, 2.5), (0.0, 75.0), (-1.0, 75.0), ("new", 75.0)],
)
async def test_two_and_a_half_heartbeats_of_silence_are_the_end(
    heartbeat: Any, silence: float
) -> None:
    socket = Socket(HELLO | {"heartbeat_seconds": heartbeat}, TimeoutError())
    session = session_of(socket)
    await session.start()
    closed = await session.run()
    assert (closed.code, closed.reason) == (4103, f"nothing came for {silence:g} s")
    assert socket.timeouts == [10.0, silence]


@pytest.mark.parametrize(
    ("last", "code", "reason", "closes"),
    [
        ((WSMsgType.BINARY, b"\x00", ""), 1006, "a binary frame", [1003]),
        ((WSMsgType.CLOSE, 1012, "restart"), 1012, "restart", []),
        ((WSMsgType.CLOSE, 4200, None), 4200, "", []),
        ((WSMsgType.CLOSE, 0, ""), 1005, "", []),
        ((WSMsgType.ERROR, "too long", None), 1006, "broken WebSocket frame: too long", []),
        ((WSMsgType.CLOSED, None, None), 1006, "the connection was lost", []),
        ((WSMsgType.CLOSING, None, None), 1006, "the connection was lost", []),
    ],
)
async def test_how_it_ended(last: Any, code: int, reason: str, closes: list[int]) -> None:
    socket = Socket(HELLO, message(4), last)
    state = context()
    session = session_of(socket, state)
    await session.start()
    closed = await session.run()
    assert (closed.code, closed.reason, closed.certain) == (code, reason, True)
    assert socket.codes == closes
    await state.inbox.get()
    assert isinstance(await state.inbox.get(), MessageReceived)


@pytest.mark.parametrize("frame", [(WSMsgType.TEXT, b"{", ""), message(4) | {"id": "x"}])
async def test_a_frame_that_cannot_be_read_ends_it(frame: Any) -> None:
    socket = Socket(HELLO, frame, message(5))
    state = context()
    session = session_of(socket, state)
    await session.start()
    closed = await session.run()
    assert closed.code == 1006
    assert closed.reason.startswith("a frame cannot be read: ")
    assert len(socket.codes) == 1
    assert state.inbox.cursor == cursor(3)


async def test_how_long_it_lasted_is_counted_from_the_hello() -> None:
    session = session_of(Socket(HELLO))
    await session.start()
    closed = await session.run()
    assert closed.lasted is not None
    assert 0 <= closed.lasted < asyncio.get_running_loop().time()


async def test_nobody_is_waited_for_who_does_not_answer_the_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatsvc.client.session.DROP_SECONDS", 0.001)
    socket = Socket(TimeoutError())
    socket.hangs = True
    async with asyncio.timeout(PATIENCE):
        assert isinstance(await session_of(socket).start(), Closed)


async def test_a_task_that_is_done_is_not_kept() -> None:
    """Each gap that is fetched has one."""
    state = context(fill_gaps=True)
    state.inbox.move_to(EPOCH, parse_id(message_id(9)))
    session = session_of(
        Socket(HELLO, *[{"type": "reset", "epoch": EPOCH, "from": message_id(9)}] * 3), state
    )
    await session.start()

    async def nothing() -> None:
        return

    session._catch_up.run = nothing  # type: ignore[method-assign]
    await session.run()
    assert session._tasks == set()
