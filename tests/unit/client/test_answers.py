"""What the answers of the HTTP interface become."""

from __future__ import annotations

import json

import pytest

from chatsvc.client import ApiError, ChatApi
from chatsvc.client.answers import retry_after_seconds
from testkit.scripted_server import ScriptedServer, message, message_id


async def test_a_problem_document_as_an_exception(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(
        422,
        {
            "type": "about:blank",
            "title": "Unprocessable",
            "status": 422,
            "code": "too_long",
            "detail": "a user id must have at most 128 characters",
            "request_id": "r",
            "errors": [
                {"pointer": "/participants/3", "code": "too_long", "detail": "d", "limit": 128}
            ],
        },
    )
    with pytest.raises(ApiError, match="at most 128 characters") as caught:
        await api.post(["a"], "b")
    assert caught.value.code == "too_long"
    (error,) = caught.value.errors
    assert (error.pointer, error.code, error.limit) == ("/participants/3", "too_long", 128)


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ({"title": "Gone", "detail": "it was deleted"}, "it was deleted"),
        ({"title": "Gone"}, "Gone"),
        ({}, "the server answered 410"),
    ],
)
async def test_what_is_told_is_the_detail_or_else_the_title(
    server: ScriptedServer, api: ChatApi, problem: dict[str, str], told: str
) -> None:
    server.answer(410, problem)
    with pytest.raises(ApiError) as caught:
        await api.conversations()
    assert (caught.value.code, caught.value.detail) == ("http_410", told)


async def test_a_conflict_names_the_first_id(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(409, {"code": "client_id_conflict", "detail": "used", "id": message_id(3)})
    with pytest.raises(ApiError) as caught:
        await api.post(["a"], "b", client_id="x")
    assert caught.value.first_id == message_id(3)


async def test_an_answer_that_is_not_the_protocols(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(200, ["captive portal"])
    with pytest.raises(ApiError) as caught:
        await api.conversations()
    assert (caught.value.status, caught.value.code) == (200, "unreadable_answer")
    assert "what the protocol says of this call" in caught.value.detail


async def test_history(server: ScriptedServer, api: ChatApi) -> None:
    server.history = [message(n) for n in range(5)]
    page = await api.history(limit=3, after=message_id(0))
    assert [one.content for one in page.messages] == ["number 1", "number 2", "number 3"]
    assert (page.has_more, page.complete) == (True, True)
    assert (page.before, page.after) == (message_id(1), message_id(3))


async def test_history_of_one_conversation_names_it(server: ScriptedServer, api: ChatApi) -> None:
    await api.history(["zoë & co", "alice"], limit=1, before="f" * 16)
    await api.history(channel=",sha256:00", around=message_id(1))
    by_set, by_channel = server.requests
    assert dict(by_set.query) == {
        "participants": "zoë & co,alice",
        "limit": "1",
        "before": "f" * 16,
    }
    assert dict(by_channel.query) == {
        "channel": ",sha256:00",
        "limit": "100",
        "around": message_id(1),
    }


async def test_one_message_and_its_state(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(200, message(1) | {"state": "stored"})
    found = await api.message("a/b")
    assert (found.message.id, found.state) == (message_id(1), "stored")
    assert server.requests[0].raw_path == "/api/messages/a%2Fb"


async def test_pages_of_a_newer_server(server: ScriptedServer, api: ChatApi) -> None:
    unsent = {key: value for key, value in message(2).items() if key != "content"}
    server.history = [
        message(1, colour="new"),
        unsent | {"unsent": True},
        message(3) | {"type": "poll", "question": "Where?"},
        {"type": "marker", "id": message_id(4)},
        message(5, metadata="now a text"),
    ]
    page = await api.history(limit=5)
    assert [(one.id, one.content) for one in page.messages] == [
        (message_id(1), "number 1"),
        (message_id(2), ""),
        (message_id(5), "number 5"),
    ]
    assert page.messages[2].metadata is None
    assert (page.before, page.after) == (message_id(1), message_id(5))
    server.history = server.history[2:4]
    page = await api.history(limit=5)
    assert (page.messages, page.after) == ([], message_id(4))


async def test_a_page_without_its_ends_has_those_of_its_entries(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(200, {"messages": [message(1), {"type": "new", "id": message_id(2)}]})
    page = await api.history()
    assert (page.before, page.after) == (message_id(1), message_id(2))
    assert (page.has_more, page.complete) == (False, True)
    ends = {"before": message_id(0), "after": message_id(9)}
    server.answer(200, {"messages": [message(1)], **ends})
    page = await api.history()
    assert (page.before, page.after) == (message_id(0), message_id(9))
    server.answer(200, {"messages": [None, 5, {"id": "no id"}], "after": "x", "before": 7})
    page = await api.history()
    assert (page.messages, page.before, page.after) == ([], None, None)


async def test_an_answer_that_has_more_or_less_than_is_known(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(201, {"id": message_id(1), "created_at": "now", "kind": {"new": True}})
    assert (await api.post(["alice"], "hi")).id == message_id(1)
    one = {"channel": ",g:1", "last_message": message(4) | {"type": "poll"}}
    other: dict[str, object] = {
        "channel": ",r:x",
        "participants": [],
        "last_message": None,
        "unread": 4,
    }
    server.answer(200, {"conversations": [{"of": "a new form"}, one, other]})
    page = await api.conversations()
    assert [found.channel for found in page.conversations] == [",g:1", ",r:x"]
    assert [found.last_message for found in page.conversations] == [None, None]


async def test_a_problem_document_with_members_of_another_form(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(
        422,
        {
            "code": "rate",
            "detail": "too much",
            "title": None,
            "errors": ["text", {"code": "rate", "limit": 2.5, "pointer": "/x"}, "text"],
            "id": 7,
        },
    )
    with pytest.raises(ApiError) as caught:
        await api.conversations()
    assert (caught.value.code, caught.value.detail) == ("rate", "too much")
    (error,) = caught.value.errors
    assert (error.pointer, error.limit) == ("/x", None)


async def test_conversations(server: ScriptedServer, api: ChatApi) -> None:
    one = {"channel": "alice,bob", "participants": ["alice", "bob"], "last_message": message(4)}
    server.answer(
        200, {"conversations": [one], "has_more": True, "before": message_id(4), "complete": False}
    )
    page = await api.conversations(limit=1, before=message_id(9))
    (found,) = page.conversations
    assert (found.channel, found.participants) == ("alice,bob", ("alice", "bob"))
    assert found.last_message is not None
    assert found.last_message.content == "number 4"
    assert (page.has_more, page.before, page.complete) == (True, message_id(4), False)
    server.answer(200, {"conversations": []})
    page = await api.conversations()
    assert (page.has_more, page.before, page.complete) == (False, None, True)
    assert [(request.method, request.path) for request in server.requests] == [
        ("GET", "/api/conversations")
    ] * 2
    assert [dict(request.query) for request in server.requests] == [
        {"limit": "1", "before": message_id(9)},
        {"limit": "100"},
    ]


async def test_connections(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(200, {"connections": {"alice": 2, "bob": 0}})
    assert await api.connections(["alice", "bob"]) == {"alice": 2, "bob": 0}
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/connections")
    assert json.loads(await request.read()) == {"users": ["alice", "bob"]}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("0", 0.0), ("", None), ("Fri, 31 Dec 1999 23:59:59 GMT", None),
     ("-1", None), ("inf", None), ("nan", None)],
)  # fmt: skip
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({"Retry-After": text}) == seconds
