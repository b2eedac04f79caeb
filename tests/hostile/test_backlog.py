"""One user who sends more than the store takes, and a log that another process holds."""

from __future__ import annotations

import asyncio
import json

from bench.attacks import answer, resident, watched
from bench.floods import Flood, sends_to_many, sends_to_new, write_lock
from bench.http_load import request
from testkit.service import MakeService, Service, token
from testkit.waiting import PATIENCE, until
from tests.hostile.conftest import honest

MIB = 1024 * 1024


async def health(service: Service) -> str:
    _, _, body = await answer(service.port, request("GET", "/health", {}))
    return str(json.loads(body)["status"])


async def send(service: Service, user: str = "alice") -> tuple[int, bytes, str]:
    """Status, head and code of an answer to a message to bob."""
    body = json.dumps({"participants": [user, "bob"], "content": "Hello!"}).encode()
    bearer = {"Authorization": f"Bearer {token(user)}"}
    status, head, answered = await answer(
        service.port, request("POST", "/api/messages", bearer, body)
    )
    return status, head, str(json.loads(answered).get("code", ""))


async def until_answered(service: Service, status: int) -> None:
    """Send until a send is answered so."""
    async with asyncio.timeout(PATIENCE):
        while (await send(service))[0] != status:  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0.05)


async def test_one_user_who_fills_the_backlog_is_refused_and_nobody_else(
    make_service: MakeService,
) -> None:
    service = make_service({"BACKLOG_BYTES": "16MiB", "RECENT_BYTES": "1MiB"})
    await service.start()
    before = resident(service.pid)
    async with (
        Flood(service.port) as flood,
        honest(service) as others,
        watched(service.pid) as most,
    ):
        sends = sends_to_many("mallory", 20, 255, "x" * 2000)
        # The store takes as much as one user sends, whatever the audience: it has to be away.
        with write_lock(service.data_dir / "store.db"):
            flood.over_sockets(sends, 2, token("mallory"))
            await until(lambda: flood.answers["sender_backlog_full"] > 1000, patience=60)
            others.reset()
            await until(lambda: others.answered > 150, patience=60)
        assert others.failures == []
        assert set(flood.answers) == {"ok", "sender_backlog_full"}
        assert set(flood.retry_after) == {2.0}
    assert most() - before < 150 * MIB
    async with asyncio.timeout(60):
        while await health(service) != "ok":  # noqa: ASYNC110 - as an operator would
            await asyncio.sleep(0.1)


async def test_many_new_conversations_are_refused_with_a_time_to_come_back(
    make_service: MakeService,
) -> None:
    service = make_service({"MAX_NEW_CONVERSATIONS_PER_HOUR": "50"})
    await service.start()
    async with honest(service) as others, Flood(service.port) as flood:
        flood.over_http(sends_to_new("mallory", token("mallory")), 8)
        await until(lambda: flood.answers["too_many_conversations"] > 500, patience=60)
        await until(lambda: others.answered > 50)
        assert others.failures == []
        assert 50 <= flood.answers["ok"] < 60
        assert all(1 <= wait <= 72 for wait in flood.retry_after)
    # What was begun goes on.
    body = b'{"participants":["mallory","new 0"],"content":"Hello again!"}'
    bearer = {"Authorization": f"Bearer {token('mallory')}"}
    status, _, _ = await answer(service.port, request("POST", "/api/messages", bearer, body))
    assert status == 201


async def test_a_log_that_another_process_holds_answers_every_send(
    make_service: MakeService,
) -> None:
    service = make_service()
    await service.start()
    assert (await send(service))[0] == 201
    with write_lock(service.data_dir / "log.db"):
        status, head, code = await send(service)
        assert (status, code) == (503, "log_busy")
        assert b"\r\nRetry-After: 2\r\n" in head
        assert await health(service) == "down"
        answers = await asyncio.gather(*[send(service, f"user {n}") for n in range(200)])
        assert {(status, code) for status, _, code in answers} == {(503, "log_busy")}
        live, _, _ = await answer(service.port, request("GET", "/health/live", {}))
        assert live == 200

    await until_answered(service, 201)
    assert await health(service) == "ok"


async def test_a_log_that_is_unlinked_takes_nothing_and_is_told_of(
    make_service: MakeService,
) -> None:
    service = make_service()
    await service.start()
    assert (await send(service))[0] == 201
    (service.data_dir / "log.db").unlink()

    await until_answered(service, 503)
    status, _, code = await send(service)
    assert (status, code) == (503, "log_file_missing")
    assert await health(service) == "down"
    await until(lambda: '"event":"log_file_missing"' in service.errors.read_text())
