"""From where pages of what was missed come, and what they ask."""

from __future__ import annotations

import pytest

from chatsvc.client import ApiError, ChatApi
from chatsvc.client.events import Change, Lost, Message
from chatsvc.client.kinds import MESSAGES_ONLY, chosen_kinds
from chatsvc.client.missed import missed_source
from testkit.scripted_server import ScriptedServer, change, message, message_id


async def test_messages_alone_come_from_where_every_server_has_them(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.history = [message(1), message(2)]
    page = await missed_source(api, MESSAGES_ONLY)(message_id(1))
    assert [one.id for one in page.records] == [message_id(2)]
    assert (page.up_to, page.has_more, page.complete, page.lost) == (
        message_id(2), False, True, None,
    )  # fmt: skip
    (request,) = server.requests
    assert request.path == "/api/messages"
    assert dict(request.query) == {"after": message_id(1), "limit": "500"}


async def test_records_of_the_kinds_that_were_chosen(server: ScriptedServer, api: ChatApi) -> None:
    server.history = [message(1), change(2, "edit"), change(3, "read"), change(4, "vote")]
    page = await missed_source(api, chosen_kinds(["message", "edit", "read"]))(message_id(0))
    assert [type(one) for one in page.records] == [Message, Change, Change]
    assert page.up_to == message_id(4)
    (request,) = server.requests
    assert request.path == "/api/changes"
    assert dict(request.query) == {
        "after": message_id(0), "kinds": "edit,message,read", "limit": "500",
    }  # fmt: skip


async def test_records_of_all_kinds(server: ScriptedServer, api: ChatApi) -> None:
    server.history = [message(1), change(2, "vote")]
    page = await missed_source(api, chosen_kinds("all"))(message_id(0))
    assert len(page.records) == 2
    assert dict(server.requests[0].query) == {"after": message_id(0), "limit": "500"}


async def test_what_the_page_says_of_itself_is_passed_on(
    server: ScriptedServer, api: ChatApi
) -> None:
    lost = {"from": message_id(1), "to": message_id(3)}
    for members in ({"messages": []}, {"frames": [], "up_to": message_id(7)}):
        server.answer(200, members | {"has_more": True, "complete": False, "lost": lost})
    page = await missed_source(api, MESSAGES_ONLY)(message_id(0))
    assert page == ([], None, True, False, Lost(message_id(1), message_id(3)))
    page = await missed_source(api, chosen_kinds("all"))(message_id(0))
    assert page == ([], message_id(7), True, False, Lost(message_id(1), message_id(3)))


async def test_a_refusal_is_the_callers(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(403, {"code": "forbidden", "detail": "no"})
    with pytest.raises(ApiError) as caught:
        await missed_source(api, chosen_kinds("all"))(message_id(0))
    assert caught.value.final
