"""Sockets that resume much, and read nothing of it."""

from __future__ import annotations

import asyncio

from bench.attacks import Crowd, resident, watched
from bench.socket_attacks import Socket
from bench.sockets import handshake
from testkit.service import MakeService, token
from tests.hostile.conftest import eventually, honest, long_messages

MIB = 1024 * 1024


async def test_what_waits_for_a_resume_is_bounded_in_bytes(make_service: MakeService) -> None:
    # The messages are in the store: from memory a resume copies nothing.
    service = make_service({"RECENT_BYTES": "1MiB", "SOCKET_STALL_SECONDS": "4"})
    await service.start()
    users = ["bob", "carol", "dave"]  # the reads of one user have bounds of their own
    await long_messages(service, 400, *users)
    async with await Socket.open(service.port, token("bob")) as first:
        hello = await first.frame()
    assert hello is not None
    since = f"/ws?since={hello['epoch']}.{0:016x}"
    before = resident(service.pid)
    async with (
        honest(service) as others,
        watched(service.pid) as most,
        Crowd(service.port) as crowd,
    ):
        for user in users * 20:
            (one,) = await crowd.open(1)
            opening = handshake(since, {"Authorization": f"Bearer {token(user)}"})
            await asyncio.get_running_loop().sock_sendall(one, opening)
        await eventually(lambda: crowd.closed() == 60)
        await eventually(lambda: others.answered > 50)
    # A page of 100 such messages for each would be 96 MiB.
    assert most() - before < 60 * MIB
    assert not others.failures


async def test_a_resume_that_is_read_is_whole(make_service: MakeService) -> None:
    service = make_service({"RECENT_BYTES": "1MiB"})
    await service.start()
    async with await Socket.open(service.port, token("bob")) as one:
        hello = await one.frame()
    assert hello is not None
    await long_messages(service, 150)
    async with await Socket.open(
        service.port, token("bob"), query=f"?since={hello['epoch']}.{0:016x}"
    ) as one:
        ids: list[str] = []
        while (frame := await one.frame()) is not None and frame["type"] != "caught_up":
            if frame["type"] == "message":
                ids.append(frame["id"])
    assert len(ids) == 150
    assert ids == sorted(set(ids))
