"""The same ``client_id`` is the same message: at once, after a crash, after the window."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from chatsvc.client import ChatClient
from chatsvc.client.server_clock import ServerClock, wall_ms
from testkit import mongod
from testkit.service import MakeService, Service, token
from tests.fault.kit.clients import Http, Outgoing, Refused, Undecided
from tests.fault.kit.clock import HOUR, Clock
from tests.fault.kit.listener import Listener
from tests.fault.kit.recorder import Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

Send = Callable[[Outgoing], Awaitable[tuple[str, bool]]]


def outgoing(content: str = "once") -> Outgoing:
    return Outgoing("a", ("a", "b"), content, "desk")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def by_socket(
    service: Service, session: aiohttp.ClientSession, tmp_path: Path
) -> AsyncIterator[Send]:
    """Sends over a socket."""
    with Recorder(tmp_path / "socket.jsonl") as recorder:
        listener = Listener(Http(session, service.url), recorder, "a", "listen:a:0")
        running = asyncio.create_task(listener.run())
        yield listener.send
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def only(send: Http, message_id: str) -> None:
    """The conversation holds this message and no other."""
    found = await send.everything("b", "a,b", wait=10)
    assert [message["id"] for message in found] == [message_id]


async def test_all_at_once(
    service: Service, session: aiohttp.ClientSession, by_socket: Send
) -> None:
    """Over HTTP and a socket alike, all of them in flight together."""
    http = Http(session, service.url)
    known: set[str] = set()
    for number in range(50):
        message = outgoing(f"number {number}")
        sends = (http.send, by_socket, http.send, by_socket)
        answers = await asyncio.gather(*(send(message) for send in sends))
        assert len({message_id for message_id, _ in answers}) == 1, answers
        assert sorted(duplicate for _, duplicate in answers) == [False, True, True, True]
        known.add(answers[0][0])
    found = await http.everything("b", "a,b", wait=10)
    assert [message["id"] for message in found] == sorted(known)


async def test_two_contents_at_once(
    service: Service, session: aiohttp.ClientSession, by_socket: Send
) -> None:
    """One of them is it, the other is refused, whichever way they came."""
    http = Http(session, service.url)
    message, other = outgoing("this"), outgoing("that")
    other.client_id = message.client_id
    answers = await asyncio.gather(http.send(message), by_socket(other), return_exceptions=True)
    accepted = [answer for answer in answers if isinstance(answer, tuple)]
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert (len(accepted), len(refused)) == (1, 1), answers
    await only(http, accepted[0][0])


async def test_after_a_crash(service: Service, session: aiohttp.ClientSession) -> None:
    http = Http(session, service.url)
    message = outgoing()
    message_id, _ = await http.send(message)
    await service.restart()
    assert await http.send(message) == (message_id, True)
    message.content = "something else"
    with pytest.raises(Refused, match=message_id):
        await http.send(message)
    await only(http, message_id)


@pytest.mark.parametrize("crash", [False, True])
async def test_after_the_window(
    make_service: MakeService, session: aiohttp.ClientSession, clock: Clock, crash: bool
) -> None:
    """The log has forgotten it, the store has not: a UUIDv7 is good for ever."""
    service = make_service(clock.env)
    await service.start()
    http = Http(session, service.url)
    message = outgoing()
    message_id, _ = await http.send(message)
    await forgotten(http, clock)
    if crash:
        await service.restart()
    assert await http.send(message) == (message_id, True)
    message.content = "something else"
    with pytest.raises(Refused, match=message_id):
        await http.send(message)


@pytest.mark.slow
async def test_after_the_window_with_the_store_away(
    make_service: MakeService,
    mongo_server: mongod.MongoServer,
    session: aiohttp.ClientSession,
    clock: Clock,
) -> None:
    """Nobody can say whether it was sent before: 503, and the answer when it is back."""
    env = {"STORE": "mongodb", "MONGO_URI": mongo_server.uri, **clock.env}
    service = make_service(env)
    await service.start()
    http = Http(session, service.url, timeout=30)
    message = outgoing()
    message_id, _ = await http.send(message)
    await forgotten(http, clock)
    await asyncio.to_thread(mongo_server.kill)
    with pytest.raises(Undecided, match="503"):
        await http.send(message)
    await http.send(outgoing("new ones are taken as ever"))
    await asyncio.to_thread(mongo_server.start)
    deadline = time.monotonic() + 30
    while True:
        try:
            assert await http.send(message) == (message_id, True)
            return
        except Undecided:
            assert time.monotonic() < deadline, service.stderr()[-3000:]
            await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_a_slow_phone_sends_while_the_store_is_away(
    make_service: MakeService,
    mongo_server: mongod.MongoServer,
    session: aiohttp.ClientSession,
    clock: Clock,
) -> None:
    """Another device of the same user has the right time: the client goes by the server's."""
    env = {"STORE": "mongodb", "MONGO_URI": mongo_server.uri, **clock.env}
    service = make_service(env)
    await service.start()
    http = Http(session, service.url)
    await http.send(outgoing("from the other device"))
    await forgotten(http, clock)
    await asyncio.to_thread(mongo_server.kill)
    async with ChatClient(service.url, token("a")) as phone:
        phone.api.clock = ServerClock(wall=lambda: wall_ms() - 15 * 60_000)
        await phone.wait_connected()
        sent = await asyncio.wait_for(phone.send(["a", "b"], "from the slow one"), 30)
        posted = await asyncio.wait_for(phone.post(["a", "b"], "and by HTTP"), 30)
    assert not sent.duplicate
    assert not posted.duplicate


async def forgotten(http: Http, clock: Clock) -> None:
    """All that is in the log now is stored, and then a window old, and forgotten.

    A string without an age is the probe: it is good for another message by then.
    """
    probe = outgoing("probe")
    probe.client_id = "any string"
    first, _ = await http.send(probe)
    await until_stored(http, first)
    deadline = time.monotonic() + 30
    while (await http.send(probe))[0] == first:
        assert time.monotonic() < deadline, "it is remembered for ever"
        clock.let_pass(HOUR)  # what passes before the log has noted its head does not count
        await asyncio.sleep(0.1)


async def until_stored(http: Http, message_id: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        async with http.session.get(
            f"{http.url}/api/messages/{message_id}", headers=http.headers("a")
        ) as answer:
            if (await answer.json())["state"] == "stored":
                return
        assert time.monotonic() < deadline, "it is not stored"
        await asyncio.sleep(0.05)
