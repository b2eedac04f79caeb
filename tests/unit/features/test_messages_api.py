"""``/api/messages`` over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chatsvc.core.ids import format_id
from tests.support.http_service import Client, HttpService, running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as client:
        yield client


async def test_send_answers_with_the_message(client: Client) -> None:
    answer = await client.send("alice", "bob", content="héllo", metadata={"a": [1, 2.5]})
    assert answer.status == 201
    message = answer.json
    assert message["type"] == "message"
    assert message["channel"] == "alice,bob"
    assert message["participants"] == ["alice", "bob"]
    assert message["sender"] == "alice"
    assert message["content"] == "héllo"
    assert message["metadata"] == {"a": [1, 2.5]}
    assert "client_id" not in message
    assert answer.headers["Location"] == f"/api/messages/{message['id']}"
    assert answer.headers["X-Request-Id"]
    [record] = client.service.log.records
    assert record.body == answer.body
    assert format_id(record.id) == message["id"]
