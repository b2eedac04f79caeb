from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chatsvc.client import ClientClosed, Connected, QueueFull, SendRefused, Sent, StoredUpTo
from chatsvc.core.ids import now_ms, uuid7_ms
from testkit.client_events import soon
from testkit.scripted_server import PATIENCE, ScriptedServer, message_id

Connect = Callable[..., Any]
BOTH = ["alice", "bob"]
DAY_MS = 86_400_000


def sending(client: Any, *texts: str, **more: Any) -> list[asyncio.Task[Sent]]:
    """Start sends in this order."""
    return [asyncio.create_task(client.send(BOTH, text, **more)) for text in texts]


async def test_a_send_is_acknowledged(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    peer = await server.greet()
    (task,) = sending(client, "hello", metadata={"a": 1})
    heard = await peer.hear()
    assert (heard["type"], heard["participants"], heard["content"]) == ("send", BOTH, "hello")
    assert heard["metadata"] == {"a": 1}
    assert uuid7_ms(heard["client_id"]) is not None
    assert client.unsent == 1
    await peer.ack(1, heard)
    sent = await task
    assert sent == Sent(message_id(1), "2026-11-21T12:00:00.000Z", heard["client_id"], False)
    assert client.unsent == 0


async def test_every_send_has_a_client_id_of_its_own_or_the_given_one(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    tasks = [*sending(client, "a", "a"), *sending(client, "b", client_id="mine")]
    heard = [await peer.hear() for _ in tasks]
    assert heard[0]["client_id"] != heard[1]["client_id"]
    assert heard[2]["client_id"] == "mine"
    for number, frame in enumerate(heard):
        await peer.ack(number, frame, duplicate=number == 2)
    assert [(await task).duplicate for task in tasks] == [False, False, True]


async def test_ids_are_minted_by_the_servers_time(server: ScriptedServer, connect: Connect) -> None:
    """Whose clock is ten years behind this machine's."""
    client = await connect()
    task = sending(client, "before any answer")[0]
    await asyncio.sleep(0)
    peer = await server.accept()
    await peer.hello(server_time="2016-05-04T03:02:01.000Z")
    first = await peer.hear()
    assert abs((uuid7_ms(first["client_id"]) or 0) - now_ms()) < DAY_MS, "by its own, and kept"
    await peer.ack(1, first)
    await task
    fresh = await connect()
    peer = await server.accept()
    await peer.hello(server_time="2016-05-04T03:02:01.000Z")
    await fresh.wait_connected()
    task = sending(fresh, "after hello")[0]
    frame = await peer.hear()
    then = 1_462_330_921_000
    assert 0 <= (uuid7_ms(frame["client_id"]) or 0) - then < DAY_MS
    await peer.ack(2, frame)
    await task


async def test_sends_made_before_there_is_a_connection_go_out_in_order(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    tasks = sending(client, *"abcde")
    peer = await server.greet()
    heard = [await peer.hear() for _ in tasks]
    assert [frame["content"] for frame in heard] == list("abcde")
    for number, frame in enumerate(heard):
        await peer.ack(number, frame)
    assert [(await task).id for task in tasks] == [message_id(n) for n in range(5)]


async def test_an_ack_that_was_lost_makes_the_same_send_go_out_again(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    tasks = sending(client, "a", "b", "c")
    first = [await peer.hear() for _ in tasks]
    await peer.ack(0, first[0])
    await tasks[0]
    peer.drop()
    peer = await server.greet()
    again = [await peer.hear() for _ in range(2)]
    assert again == first[1:]  # the same client_id, the same order, and nothing acknowledged
    await peer.ack(1, again[0], duplicate=True)
    await peer.ack(2, again[1])
    assert [(await task).duplicate for task in tasks] == [False, True, False]


async def test_one_too_many_is_an_error_at_once(server: ScriptedServer, connect: Connect) -> None:
    client = await connect(outbox_size=3)
    await server.accept()  # and says no hello
    waiting = sending(client, "a", "b", "c")
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="3 sends"):
        await client.send(BOTH, "d")
    assert not any(task.done() for task in waiting)
    await client.close()
    for task in waiting:
        with pytest.raises(ClientClosed):
            await task
    with pytest.raises(ClientClosed):
        await client.send(BOTH, "e")


async def test_the_bound_is_a_thousand() -> None:
    from chatsvc.client.outbox import DEFAULT_CAPACITY

    assert DEFAULT_CAPACITY == 1000


async def test_no_more_are_in_flight_than_the_server_reads(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    tasks = sending(client, *map(str, range(100)))
    peer = await server.greet()
    heard = [await peer.hear() for _ in range(64)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await peer.socket.receive()
    # Reading was cut short, which ends the scripted socket: go on with the next.
    peer.drop()
    peer = await server.greet()
    again = [await peer.hear() for _ in range(64)]
    assert again == heard
    for number in range(100):
        if number < 64:
            frame = again[number]
        else:
            frame = await peer.hear()
        assert frame["content"] == str(number)
        await peer.ack(number, frame)
    assert len(await asyncio.gather(*tasks)) == 100


async def test_a_refusal_is_raised_and_the_others_go_on(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    tasks = sending(client, "bad", "good")
    bad, good = [await peer.hear() for _ in tasks]
    await peer.say(
        {
            "type": "error",
            "ref": bad["ref"],
            "code": "too_long",
            "detail": "content must have at most 3 characters",
            "pointer": "/content",
            "limit": 3,
        }
    )
    await peer.ack(1, good)
    with pytest.raises(SendRefused) as caught:
        await tasks[0]
    assert caught.value.code == "too_long"
    (error,) = caught.value.errors
    assert (error.pointer, error.limit) == ("/content", 3)
    assert (await tasks[1]).id == message_id(1)


async def test_a_conflict_names_the_first_id(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    peer = await server.greet()
    (task,) = sending(client, "other", client_id="used")
    heard = await peer.hear()
    await peer.say(
        {"type": "error", "ref": heard["ref"], "code": "client_id_conflict",
         "detail": "used already", "id": message_id(7)}
    )  # fmt: skip
    with pytest.raises(SendRefused) as caught:
        await task
    assert caught.value.first_id == message_id(7)


@pytest.mark.parametrize("retry_after", [0.01, None])
async def test_what_is_refused_for_now_is_sent_again_under_the_same_client_id(
    server: ScriptedServer, connect: Connect, retry_after: float | None
) -> None:
    client = await connect()
    peer = await server.greet()
    (task,) = sending(client, "later")
    heard = await peer.hear()
    refusal = {"type": "error", "ref": heard["ref"], "code": "log_unavailable", "detail": "full"}
    if retry_after is not None:
        refusal["retry_after"] = retry_after
    await peer.say(refusal)
    again = await peer.hear()
    assert again == heard
    await peer.ack(1, again)
    assert (await task).id == message_id(1)


async def test_a_fault_of_the_server_is_tried_three_times(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    failing, fine = sending(client, "failing", "fine")
    for number in range(3):
        heard = await peer.hear()
        assert heard["content"] == "failing"
        if number == 0:
            await peer.ack(1, await peer.hear())
        await peer.say(
            {"type": "error", "ref": heard["ref"], "code": "internal_error", "detail": "ours"}
        )
    with pytest.raises(SendRefused, match="ours"):
        await failing
    assert (await fine).id == message_id(1)
    assert client.unsent == 0


async def test_receipts_are_asked_for_and_told(server: ScriptedServer, connect: Connect) -> None:
    client = await connect(receipts=True)
    peer = await server.greet()
    assert peer.request.query["receipts"] == "stored"
    await peer.say({"type": "stored", "up_to": message_id(1)})
    assert (await soon(client, StoredUpTo)).message_id == message_id(1)


async def test_a_caller_who_goes_away_takes_its_send_along(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    gone, stays = sending(client, "gone", "stays")
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert client.unsent == 1
    peer = await server.greet()
    heard = await peer.hear()
    assert heard["content"] == "stays"
    await peer.ack(1, heard)
    await stays


async def test_a_frame_too_big_ends_as_an_error_and_not_as_a_loop(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    small, big = sending(client, "small", "x" * 1000)
    await peer.hear()
    await peer.hear()
    await peer.close(1009, "too big")
    with pytest.raises(SendRefused, match="too big") as caught:
        await big
    assert caught.value.code == "body_too_large"
    assert client.unsent == 1
    peer = await server.greet()
    heard = await peer.hear()
    assert heard["content"] == "small"
    await peer.ack(1, heard)
    await small


async def test_an_error_and_an_ack_for_nobody_are_passed_over(
    server: ScriptedServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect()
    peer = await server.greet()
    await peer.say({"type": "error", "code": "malformed", "detail": "what was that"})
    await peer.ack(5, {"ref": "unknown"})
    (task,) = sending(client, "a")
    await peer.ack(1, await peer.hear())
    await task
    assert "what was that" in caplog.text


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff"])
async def test_text_that_is_not_unicode_is_refused_at_once(
    server: ScriptedServer, connect: Connect, text: str
) -> None:
    client = await connect()
    with pytest.raises(ValueError):
        await client.send(BOTH, text)
    assert client.unsent == 0


async def test_waiting_for_the_connection(server: ScriptedServer, connect: Connect) -> None:
    client = await connect()
    assert not client.connected
    waiting = asyncio.create_task(client.wait_connected())
    peer = await server.greet()
    async with asyncio.timeout(PATIENCE):
        hello = await waiting
    assert hello.user == "alice"
    assert client.connected
    peer.drop()
    await server.accept()
    assert not client.connected


async def test_sends_while_away_are_kept_over_failed_attempts(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    peer = await server.greet()
    await soon(client, Connected)
    peer.drop()
    (task,) = sending(client, "while away")
    for _ in range(3):
        (await server.accept()).drop()
    peer = await server.greet()
    await peer.ack(1, await peer.hear())
    assert (await task).id == message_id(1)
