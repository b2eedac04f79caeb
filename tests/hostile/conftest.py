"""Real services to attack, and what others get from them meanwhile."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from itertools import repeat
from pathlib import Path

import pytest

from bench import http_load
from bench.attacks import Honest, honest_requests
from testkit.service import MakeService, Service, services, token
from testkit.waiting import until


@pytest.fixture
async def make_service(tmp_path: Path) -> AsyncIterator[MakeService]:
    async with services(tmp_path) as make:
        yield make


async def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds; an attack takes its time on a busy machine."""
    await until(condition, patience=75)


def honest(service: Service) -> Honest:
    """Other people's requests, to be entered as a block."""
    return Honest(service.port, honest_requests(token("honest")))


async def long_messages(service: Service, count: int, *to: str) -> None:
    """From alice to bob, or to others; accepted."""
    message = {"participants": ["alice", *(to or ("bob",))], "content": "x" * 16_000}
    body = json.dumps(message).encode()
    send = http_load.request(
        "POST", "/api/messages", {"Authorization": f"Bearer {token('alice')}"}, body
    )
    await http_load.run(service.port, repeat(send, count), at_once=8)
