"""``GET /api/changes`` by the client: what is asked, and what the answers become."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from chatsvc.client import ApiError, Change, ChatApi, ChatClient, Message
from chatsvc.client.events import Lost, decode_change, decode_record, received
from testkit.scripted_server import ScriptedServer, change, cursor, message, message_id


async def test_a_page(server: ScriptedServer, api: ChatApi) -> None:
    edit = change(2, "edit", target=message_id(1), content="new", rev={"of": [1]})
    server.answer(
        200,
        {
            "frames": [message(1), edit],
            "up_to": message_id(5),
            "has_more": True,
            "complete": False,
            "lost": {"from": message_id(0), "to": message_id(1)},
        },
    )
    page = await api.changes(after=message_id(0), channel="alice,bob", kinds=["message", "edit"])
    first, second = page.frames
    assert isinstance(first, Message)
    assert first.content == "number 1"
    assert second == Change(
        kind="edit",
        id=message_id(2),
        channel="alice,bob",
        sender="bob",
        created_at="2026-11-21T12:00:00.000Z",
        fields={"target": message_id(1), "content": "new", "rev": {"of": [1]}},
        raw=second.raw,
    )
    assert json.loads(second.raw) == edit
    assert (page.up_to, page.has_more, page.complete) == (message_id(5), True, False)
    assert page.lost == Lost(message_id(0), message_id(1))
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/api/changes")
    assert dict(request.query) == {
        "after": message_id(0), "channel": "alice,bob", "kinds": "edit,message", "limit": "100",
    }  # fmt: skip


async def test_by_default_records_of_all_kinds_from_the_first_on(
    server: ScriptedServer, api: ChatApi
) -> None:
    await api.changes()
    await api.changes(kinds="all", limit=7)
    await api.changes(kinds=["message"])
    assert [dict(request.query) for request in server.requests] == [
        {"limit": "100"},
        {"limit": "7"},
        {"limit": "100", "kinds": "message"},
    ]


async def test_a_client_passes_it_on(server: ScriptedServer) -> None:
    server.history = [message(1), change(2, "edit"), change(3, "vote")]
    async with ChatClient(server.url, "token") as client:
        page = await client.changes(
            after=message_id(1), channel="alice,bob", kinds=["edit"], limit=3
        )
    assert [one.id for one in page.frames] == [message_id(2)]
    assert dict(server.requests[0].query) == {
        "after": message_id(1), "channel": "alice,bob", "kinds": "edit", "limit": "3",
    }  # fmt: skip


async def test_kinds_that_cannot_be_are_not_asked_for(server: ScriptedServer, api: ChatApi) -> None:
    with pytest.raises(ValueError, match="kinds must name"):
        await api.changes(kinds=[])
    assert server.requests == []


async def test_a_page_of_a_newer_server(server: ScriptedServer, api: ChatApi) -> None:
    without = change(4, "vote")
    del without["sender"]
    server.answer(
        200,
        {
            "frames": [
                change(1, "vote", colour="new"),
                {"type": 5, "id": message_id(2)},
                change(3, "edit") | {"type": ["a", "list"]},
                without,
                change(5, "edit", id="another form"),
                None,
                change(6, "edit"),
            ],
            "up_to": ["another", "form"],
        },
    )
    page = await api.changes()
    assert [one.id for one in page.frames] == [message_id(1), message_id(6)]
    assert (page.up_to, page.has_more, page.complete) == (message_id(6), False, True)
    server.answer(200, {"frames": [], "up_to": "x"})
    page = await api.changes()
    assert (page.frames, page.up_to) == ([], None)


async def test_what_is_no_page(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(200, {"messages": []})
    with pytest.raises(ApiError) as caught:
        await api.changes()
    assert caught.value.code == "unreadable_answer"


@pytest.mark.parametrize("missing", ["type", "id", "channel", "sender", "created_at"])
def test_a_change_without_what_every_record_has_is_none(missing: str) -> None:
    frame = change(1, "edit")
    del frame[missing]
    with pytest.raises(msgspec.DecodeError, match="a record must have type, id, channel"):
        decode_change(json.dumps(frame).encode())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"[]", "object"),
        (b"{", "truncated"),
        (json.dumps(change(1, "edit", id="x")).encode(), "16 lower-case hex digits"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'{"a":"\xff"}', "not UTF-8"),
    ],
)
def test_what_is_no_change(data: bytes, text: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=text):
        decode_change(data)
    assert decode_record(data) is None


def test_a_record_becomes_an_event_with_a_cursor() -> None:
    frame: dict[str, Any] = change(3, "edit", target=message_id(1))
    found = decode_change(json.dumps(frame).encode())
    event = received(found, "e1")
    assert (event.cursor, event.raw, event.id) == (cursor(3), found.raw, message_id(3))
    one = decode_record(json.dumps(message(4, metadata={"a": 1})).encode())
    assert isinstance(one, Message)
    event = received(one, "e1")
    assert (event.cursor, event.raw) == (cursor(4), one.raw)
    assert {name: getattr(event, name) for name in Message.__dataclass_fields__} == {
        name: getattr(one, name) for name in Message.__dataclass_fields__
    }
