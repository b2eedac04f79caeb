"""The sends of one connection, without a connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import pytest

from chatsvc.client import Backoff, FieldError, Message, SendRefused, Sent
from chatsvc.client.context import Pending
from chatsvc.client.sending import Sending
from chatsvc.wire import protocol as wire
from testkit.client_events import until
from testkit.scripted_server import PATIENCE
from tests.unit.support.client_context import context

AN_HOUR = 3600.0


@dataclass(frozen=True)
class Pauses(Backoff):
    """Waits as long as a test says; notes what it was asked for."""

    seconds: list[float] = field(default_factory=list)
    asked: list[tuple[int, float, float | None]] = field(default_factory=list)

    def wait(self, failures: int, draw: float, retry_after: float | None = None) -> float:
        self.asked.append((failures, draw, retry_after))
        return self.seconds.pop(0) if self.seconds else 0.0


def own_message(message_id: str) -> Message:
    return Message(
        id=message_id, channel="c", sender="s", content="", created_at="t", participants=()
    )


class Line:
    """A socket that notes what is written."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.error: Exception | None = None

    async def send_frame(self, data: bytes, kind: aiohttp.WSMsgType) -> None:
        assert kind is aiohttp.WSMsgType.TEXT
        if self.error is not None:
            raise self.error
        self.written.append(json.loads(data)["content"])


class Connection:
    """One connection's sends; ``run`` may be started."""

    def __init__(self, *pauses: float) -> None:
        self.pauses = Pauses(seconds=list(pauses))
        self.context = context(backoff=self.pauses)
        self.line = Line()
        socket = cast("aiohttp.ClientWebSocketResponse[bool]", self.line)
        self.sending = Sending(socket, self.context)
        self.task: asyncio.Task[None] | None = None

    def add(self, text: str) -> asyncio.Future[Sent]:
        """Queue a send; its result."""
        outbox = self.context.outbox
        result: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        ref = outbox.reserve()
        frame = json.dumps({"content": text}).encode()
        outbox.add(ref, frame, Pending(f"c{ref}", result))
        self.context.outbox_changed.set()
        return result

    def start(self) -> None:
        self.task = asyncio.create_task(self.sending.run())

    async def written(self, count: int) -> list[str]:
        await until(lambda: len(self.line.written) >= count)
        return self.line.written

    async def settled(self) -> list[str]:
        """What was written once nothing goes on that could write more."""
        for _ in range(20):
            await asyncio.sleep(0)
        return self.line.written

    def refuse(self, ref: str, code: str = "log_unavailable", **more: Any) -> None:
        self.sending.refused(wire.Error(code=code, detail="d", ref=ref, **more))


@pytest.fixture
async def opened() -> AsyncIterator[list[Connection]]:
    """What a test puts in here is ended after it."""
    connections: list[Connection] = []
    yield connections
    for connection in connections:
        if connection.task is not None:
            connection.task.cancel()
            await asyncio.wait([connection.task])


async def test_what_waits_is_written_and_then_what_comes(opened: list[Connection]) -> None:
    opened.append(one := Connection())
    one.add("a")
    one.start()
    assert await one.written(1) == ["a"]
    one.add("b")
    assert await one.written(2) == ["a", "b"]
    assert one.context.outbox.in_flight == 2


async def test_a_caller_who_went_away_is_passed_over(opened: list[Connection]) -> None:
    opened.append(one := Connection())
    one.add("a").cancel()
    one.add("b")
    one.start()
    assert await one.written(1) == ["b"]
    assert len(one.context.outbox) == 1


async def test_writing_ends_a_wait_for_the_consumer(opened: list[Connection]) -> None:
    opened.append(one := Connection())
    waiting = asyncio.create_task(one.context.inbox.wait_changed())
    await one.settled()
    one.add("a")
    one.start()
    await asyncio.wait_for(waiting, PATIENCE)


@pytest.mark.parametrize("error", [ConnectionResetError("lost"), aiohttp.ClientError("lost")])
async def test_a_lost_connection_ends_the_writing(
    opened: list[Connection], error: Exception
) -> None:
    opened.append(one := Connection())
    one.line.error = error
    one.add("a")
    one.start()
    assert one.task is not None
    await asyncio.wait_for(one.task, PATIENCE)
    assert len(one.context.outbox) == 1


async def test_an_ack_is_returned_and_known_as_the_clients_own() -> None:
    one = Connection()
    result = one.add("a")
    one.context.outbox.take()
    one.sending.acknowledged(wire.Ack(id="i", created_at="t", ref="1", duplicate=True))
    assert result.result() == Sent("i", "t", "c1", True)
    assert len(one.context.outbox) == 0
    assert own_message("i") in one.context.own


async def test_an_ack_makes_room_in_the_window(opened: list[Connection]) -> None:
    opened.append(one := Connection())
    for number in range(66):
        one.add(str(number))
    one.start()
    assert len(await one.written(64)) == 64
    assert len(await one.settled()) == 64
    one.sending.acknowledged(wire.Ack(id="i", created_at="t", ref="1"))
    assert (await one.written(65))[64:] == ["64"]
    one.refuse("2", "too_long")
    assert (await one.written(66))[64:] == ["64", "65"]


async def test_answers_for_nobody_are_passed_over() -> None:
    one = Connection()
    one.sending.acknowledged(wire.Ack(id="i", created_at="t", ref="9"))
    one.sending.acknowledged(wire.Ack(id="i", created_at="t"))
    for code in ("too_long", "log_unavailable", "internal_error"):
        one.refuse("9", code)
    one.sending.fail_largest()
    assert own_message("i") not in one.context.own
    assert one.pauses.asked == []


async def test_answers_for_a_caller_who_went_away_are_passed_over() -> None:
    one = Connection()
    for text in ("a", "b", "c"):
        one.add(text).cancel()
        one.context.outbox.take()
    one.sending.acknowledged(wire.Ack(id="i", created_at="t", ref="1"))
    one.refuse("2", "too_long")
    one.sending.fail_largest()
    assert len(one.context.outbox) == 0


@pytest.mark.parametrize("more", [{"code": "of_later", "retry_after": 0.5}, {}], ids=str)
async def test_what_can_pass_is_tried_for_ever(
    opened: list[Connection], more: dict[str, Any]
) -> None:
    opened.append(one := Connection())
    result = one.add("a")
    one.start()
    for number in range(1, 6):
        assert await one.written(number) == ["a"] * number
        one.refuse("1", **more)
    retry_after = more.get("retry_after")
    assert one.pauses.asked == [(number, 0.25, retry_after) for number in range(5)]
    assert not result.done()


async def test_nothing_is_written_before_the_time_is_up(opened: list[Connection]) -> None:
    opened.append(one := Connection(AN_HOUR, 0.0))
    one.add("a")
    one.add("b")
    one.start()
    await one.written(2)
    one.refuse("1")
    one.add("c")
    assert await one.settled() == ["a", "b"]
    one.refuse("2")  # for a shorter time, which does not shorten the other
    assert await one.settled() == ["a", "b"]


@pytest.mark.parametrize(("pause", "written"), [(0.5, ["a"]), (0.0, ["a", "a"])])
async def test_a_pause_is_over_when_its_time_is(
    opened: list[Connection],
    monkeypatch: pytest.MonkeyPatch,
    pause: float,
    written: list[str],
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1e6)  # it stands still
    opened.append(one := Connection(pause))
    one.add("a")
    one.start()
    assert await one.settled() == ["a"]
    one.refuse("1")
    assert await one.settled() == written


async def test_after_the_pause_what_was_refused_comes_first(opened: list[Connection]) -> None:
    opened.append(one := Connection(0.01))
    one.add("a")
    one.start()
    await one.written(1)
    one.add("b")
    one.refuse("1")
    assert await one.written(3) == ["a", "a", "b"]


async def test_a_fault_of_the_server_is_raised_at_the_third_time(opened: list[Connection]) -> None:
    opened.append(one := Connection())
    result = one.add("a")
    one.start()
    for number in (1, 2, 3):
        await one.written(number)
        assert not result.done()
        one.refuse("1", "internal_error")
    with pytest.raises(SendRefused) as caught:
        await result
    assert caught.value.code == "internal_error"
    assert len(one.context.outbox) == 0


async def test_what_was_wrong_is_told() -> None:
    one = Connection()
    of_a_field, of_none = one.add("a"), one.add("b")
    one.refuse("1", "too_long", pointer="/content", limit=3)
    one.refuse("2", "client_id_conflict", id="first")
    with pytest.raises(SendRefused, match=r"^d \(too_long\)$") as caught:
        await of_a_field
    error = caught.value
    assert (error.code, error.detail, error.first_id) == ("too_long", "d", None)
    assert error.errors == (FieldError(pointer="/content", code="too_long", detail="d", limit=3),)
    with pytest.raises(SendRefused) as caught:
        await of_none
    assert (caught.value.errors, caught.value.first_id) == ((), "first")


async def test_the_longest_send_is_failed_for_a_frame_too_big() -> None:
    one = Connection()
    results = [one.add(text) for text in ("a", "aaa", "aa")]
    for _ in results:
        one.context.outbox.take()
    one.sending.fail_largest()
    assert [result.done() for result in results] == [False, True, False]
    with pytest.raises(SendRefused) as caught:
        await results[1]
    assert caught.value.code == "body_too_large"
    assert len(one.context.outbox) == 2
