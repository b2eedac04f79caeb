"""The Python client against a server that is killed and started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import jwt
import pytest

from chatsvc.client import Backoff, ChatClient, Gap, GaveUp, MessageReceived, SendRefused, Sent
from demo_cli.login import Login
from testkit.client_events import until
from testkit.restartable import Service

pytestmark = pytest.mark.e2e

PATIENCE = 90.0
QUICK = Backoff(first=0.2, maximum=0.5)
SENDERS = 8
EACH = 60


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "data", RESUME_MAX="20")
    running.start()
    yield running
    running.stop()


def client(service: Service, user: str, **more: object) -> ChatClient:
    login = Login(service.url, None, user)
    return ChatClient(service.url, login.token, backoff=QUICK, **more)  # type: ignore[arg-type]


async def receive(listener: ChatClient, count: int) -> list[MessageReceived]:
    found: list[MessageReceived] = []
    async for event in listener:
        assert not isinstance(event, Gap), event
        if isinstance(event, MessageReceived):
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_nothing_is_lost_or_doubled_across_restarts(service: Service) -> None:
    """More is sent than one resume replays, so ranges are fetched over HTTP as well."""
    acknowledged = 0

    async def send(sender: ChatClient, name: int) -> list[Sent]:
        nonlocal acknowledged
        sent = []
        for number in range(EACH):
            sent.append(await sender.send(["alice", "bob"], f"{name}.{number}"))
            acknowledged += 1
        return sent

    async def restart(when: int) -> None:
        await until(lambda: acknowledged >= when)
        await asyncio.to_thread(service.kill)
        await asyncio.to_thread(service.start)

    total = SENDERS * EACH
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        bob = await stack.enter_async_context(client(service, "bob"))
        await bob.wait_connected()
        alice = [
            await stack.enter_async_context(client(service, "alice", device=f"d{number}"))
            for number in range(SENDERS)
        ]
        hearing = asyncio.create_task(receive(bob, total))
        sending = [asyncio.create_task(send(one, name)) for name, one in enumerate(alice)]
        for quarter in (1, 2, 3):
            await restart(total * quarter // 4)
        sent = [one for each in await asyncio.gather(*sending) for one in each]
        heard = await hearing
        await bob.send(["alice", "bob"], "the end")

        ids = [message.id for message in heard]
        assert len(set(ids)) == total
        assert ids == sorted(ids)
        assert set(ids) == {one.id for one in sent}
        expected = {f"{name}.{number}" for name in range(SENDERS) for number in range(EACH)}
        assert {message.content for message in heard} == expected
        for name in range(SENDERS):  # each sender's in the order in which it sent them
            mine = [m.content for m in heard if m.content.startswith(f"{name}.")]
            assert mine == [f"{name}.{number}" for number in range(EACH)]
        page = await bob.history(["alice", "bob"], limit=1000)
        assert [message.id for message in page.messages[:-1]] == ids


async def test_sends_to_a_group_wait_for_the_server_and_keep_their_order(service: Service) -> None:
    async with (
        asyncio.timeout(PATIENCE),
        client(service, "alice") as alice,
        client(service, "bob") as bob,
    ):
        await bob.wait_connected()
        group = await alice.groups.create("Readers", ["bob"])
        other = await alice.groups.create("Writers", ["bob"])
        await bob.groups.leave(group.id)
        await asyncio.to_thread(service.kill)
        sends = [
            asyncio.create_task(alice.send(channel=channel, content=f"{number}"))
            for number, channel in enumerate([group.channel, other.channel] * EACH)
        ]
        refused = asyncio.create_task(bob.send(channel=group.channel, content="not any more"))
        kept = asyncio.create_task(bob.send(channel=other.channel, content="still there"))
        await until(lambda: alice.unsent == 2 * EACH)
        await asyncio.to_thread(service.start)
        with pytest.raises(SendRefused, match="not_a_member"):
            await refused
        await kept
        ids = [one.id for one in await asyncio.gather(*sends)]
        assert ids == sorted(set(ids))
        assert [one.content for one in await receive(bob, EACH)] == [
            f"{number}" for number in range(1, 2 * EACH, 2)
        ]


async def test_a_consumer_that_crashed_goes_on_where_it_stood(service: Service) -> None:
    async with asyncio.timeout(PATIENCE):
        async with client(service, "alice") as alice:
            async with client(service, "bob") as bob:
                await bob.wait_connected()
                for number in range(5):
                    await alice.send(["alice", "bob"], str(number))
                assert [m.content for m in await receive(bob, 3)] == ["0", "1", "2"]
                cursor = bob.cursor  # what the application stored; the rest was never taken
            for number in range(5, 50):  # more than a resume replays
                await alice.send(["alice", "bob"], str(number))
        async with client(service, "bob", since=cursor) as again:
            heard = await receive(again, 47)
    assert [message.content for message in heard] == [str(number) for number in range(3, 50)]


async def test_a_second_device_stays_in_step(service: Service) -> None:
    async with (
        asyncio.timeout(PATIENCE),
        client(service, "alice", device="phone", echo=True) as phone,
        client(service, "alice", device="laptop", echo=True) as laptop,
    ):
        await phone.wait_connected()
        await laptop.wait_connected()
        await phone.send(["alice", "bob"], "from the phone")
        await laptop.post(["alice", "bob"], "from the laptop")
        assert [m.content for m in await receive(laptop, 1)] == ["from the phone"]
        assert [m.content for m in await receive(phone, 1)] == ["from the laptop"]


async def test_tokens_that_end_are_replaced_while_messages_flow(tmp_path: Path) -> None:
    secret = "a secret for this test alone, 32 bytes"
    asked = 0

    async def brief() -> str:
        nonlocal asked
        asked += 1
        return jwt.encode({"id": "bob", "exp": int(time.time()) + 2}, secret, "HS256")

    service = Service(tmp_path / "data", JWT_SECRET=secret, JWT_LEEWAY_SECONDS="0")
    service.start()
    try:
        lasting = jwt.encode({"id": "alice", "exp": int(time.time()) + 600}, secret, "HS256")
        async with (
            asyncio.timeout(PATIENCE),
            ChatClient(service.url, brief, backoff=QUICK) as bob,
            ChatClient(service.url, lasting) as alice,
        ):
            await bob.wait_connected()
            count = 0
            while asked < 3:
                await alice.send(["alice", "bob"], str(count))
                (heard,) = await receive(bob, 1)
                assert heard.content == str(count)
                count += 1
            with pytest.raises(GaveUp, match="token"):
                async with ChatClient(service.url, "not.a.token") as stranger:
                    await stranger.wait_connected()
    finally:
        service.stop()
