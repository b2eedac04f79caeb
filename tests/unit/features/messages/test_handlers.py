"""The answers of ``/api/messages`` as the handlers give them, without HTTP."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest

from chatsvc.api.operation import Reply
from chatsvc.core.errors import FieldError, Invalid
from chatsvc.core.ids import format_id
from chatsvc.core.limits import Limits
from chatsvc.core.page import Page
from chatsvc.features.messages.api import operations
from chatsvc.features.messages.channels import ConversationSender
from chatsvc.features.messages.member_sends import MemberSends
from chatsvc.features.messages.model import (
    MessageRequest,
    PageRequest,
    SendHeaders,
    SendRequest,
)
from chatsvc.features.messages.reading import MessageReader
from chatsvc.features.messages.service import AllowAll, MessageService
from chatsvc.log.deciding import Deciding
from chatsvc.storage.history.pages import entry_of
from tests.unit.support.fake_log import FakeHistory, FakeLog


class Alice(NamedTuple):
    user: str = "alice"


class World:
    """The operations over a log in memory."""

    def __init__(self) -> None:
        limits = Limits()
        self.log = FakeLog()
        history = FakeHistory(self.log)
        service = MessageService(log=self.log, policy=AllowAll(), client_ids=history, limits=limits)
        members = MemberSends(
            log=self.log, deciding=Deciding(self.log), client_ids=history, limits=limits
        )
        sender = ConversationSender(service=service, members=members, lookup=history, limits=limits)
        reader = MessageReader(history=history, limits=limits)
        self.operations = {one.name: one for one in operations(sender, reader, limits)}

    async def send(self, client_id: str | None = None, **headers: str) -> Reply:
        request = SendRequest(participants=["alice", "bob"], content="hi", client_id=client_id)
        return await self.operations["send_message"].handler(
            Alice(), request, SendHeaders(**headers)
        )

    async def get(self, name: str, request: object) -> Reply:
        return await self.operations[name].handler(Alice(), request)


@pytest.fixture
async def world() -> World:
    return World()


async def refusal(world: World, client_id: str | None = None, **headers: str) -> FieldError:
    with pytest.raises(Invalid) as caught:
        await world.send(client_id, **headers)
    assert world.log.records == []
    [field] = caught.value.field_errors
    assert (caught.value.code, caught.value.detail) == (field.code, field.detail)
    return field


async def test_a_send_answers_where_the_message_is(world: World) -> None:
    reply = await world.send()
    [record] = world.log.records
    message_id = format_id(record.id)
    assert record.origin == "", "no device was named"
    assert reply == Reply(201, record.body, {"Location": f"/api/messages/{message_id}"}, message_id)


@pytest.mark.parametrize("again", [("k", {}), (None, {"idempotency_key": "k"})])
async def test_a_repeat_says_that_it_is_one(
    world: World, again: tuple[str | None, dict[str, str]]
) -> None:
    await world.send("k", device="phone")
    client_id, headers = again
    reply = await world.send(client_id, **headers)
    [record] = world.log.records
    assert record.origin == "phone"
    message_id = format_id(record.id)
    assert reply == Reply(
        200,
        record.body,
        {"Location": f"/api/messages/{message_id}", "Idempotent-Replayed": "true"},
        message_id,
    )


async def test_a_header_that_is_wrong_is_named(world: World) -> None:
    field = await refusal(world, device="a/b")
    assert (field.pointer, field.code) == ("/Chatsvc-Device", "bad_device")
    field = await refusal(world, idempotency_key="é")
    assert (field.pointer, field.code) == ("/Idempotency-Key", "bad_client_id")
    assert await refusal(world, "k", idempotency_key="other") == FieldError(
        "/Idempotency-Key",
        "client_id_mismatch",
        "client_id and Idempotency-Key must be equal where both are given",
    )


async def test_a_conversations_page_needs_a_conversation_and_its_head_too(world: World) -> None:
    operation = world.operations["get_conversation"]
    assert operation.check is not None
    with pytest.raises(Invalid) as caught:
        operation.check(Alice(), PageRequest())
    missing = FieldError(
        "/participants", "missing", "one of participants and channel must be given"
    )
    assert caught.value.field_errors == (missing,)
    assert (caught.value.code, caught.value.detail) == (missing.code, missing.detail)
    with pytest.raises(Invalid):
        await world.get("get_conversation", PageRequest())
    operation.check(Alice(), PageRequest(channel="alice,bob"))


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("get_conversation", {"participants": "bob,alice"}),
        ("get_conversation", {"channel": "alice,bob"}),
        ("list_messages", {}),
        ("list_messages", {"participants": "bob,alice"}),
    ],
)
async def test_a_page_is_the_messages(world: World, name: str, request_: dict[str, Any]) -> None:
    await world.send()
    [record] = world.log.records
    position = format_id(record.id).encode()
    reply = await world.get(name, PageRequest(**request_))
    assert reply == Reply(
        200,
        b'{"messages":[%b],"has_more":false,"before":"%b","after":"%b","complete":true}'
        % (record.body, position, position),
    )


@pytest.mark.parametrize(
    ("name", "request_"),
    [("get_conversation", {"channel": "alice,bob"}), ("list_messages", {})],
)
async def test_the_positions_of_a_page_are_ids_and_not_revisions(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, request_: dict[str, str]
) -> None:
    await world.send()
    [record] = world.log.records
    changed = msgspec.structs.replace(entry_of(record), rev=record.id + 1)

    async def page(*_: object, **__: object) -> Page:
        return Page([changed], False, True)

    monkeypatch.setattr(FakeHistory, "user_page", page)
    monkeypatch.setattr(FakeHistory, "channel_page", page)
    reply = await world.get(name, PageRequest(**request_))  # type: ignore[arg-type]
    assert isinstance(reply.body, bytes)
    assert f'"after":"{format_id(record.id)}"'.encode() in reply.body


async def test_one_message_is_its_body_and_its_state(world: World) -> None:
    message_id = (await world.send()).message_id
    assert message_id is not None
    [record] = world.log.records
    reply = await world.get("get_message", MessageRequest(id=message_id))
    body = record.body[:-1] + b',"state":"accepted"}'
    assert reply == Reply(200, body, None, message_id)


async def test_an_id_that_is_none_is_refused_where_it_is(world: World) -> None:
    with pytest.raises(Invalid) as caught:
        await world.get("get_message", MessageRequest(id="X"))
    [field] = caught.value.field_errors
    assert (field.pointer, field.code) == ("/id", "bad_id")
