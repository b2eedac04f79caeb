"""The calls about groups: what is requested, what of an answer is read, what is tried again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chatsvc.client import (
    ApiError,
    ChatApi,
    Group,
    GroupMember,
    GroupPage,
    MemberPage,
    Unreachable,
)
from chatsvc.core.ids import uuid7_ms
from testkit.scripted_server import ScriptedServer

Connect = Callable[..., Any]
ID = "6f" * 16
GROUP = {
    "id": ID,
    "channel": f",g:{ID}",
    "name": "Readers",
    "avatar": "book",
    "history": "all",
    "join": "invite",
    "member_count": 2,
    "role": "admin",
    "rev": "019aa5b1c2d30000",
}
BOB = {"user": "bob", "role": "member", "joined": "019aa5b1c2d30000"}


async def asked(server: ScriptedServer) -> list[tuple[str, str, Any]]:
    """Method, path as it was sent, and body of each request."""
    found = []
    for one in server.requests:
        body = await one.read()
        found.append((one.method, one.raw_path, json.loads(body) if body else None))
    return found


async def test_a_group_is_created_once_however_often_it_is_tried(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(503, {"code": "busy"}, Retry_After="0")
    server.hang_up()
    server.answer(200, GROUP)
    made = await api.groups.create("Readers", ("bob",))
    assert made == Group(**GROUP)  # type: ignore[arg-type]
    bodies = [body for _, _, body in await asked(server)]
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] == bodies[2]
    assert uuid7_ms(bodies[0].pop("client_id")) is not None
    assert bodies[0] == {"name": "Readers", "members": ["bob"]}


async def test_what_a_group_is_to_be_like_is_sent_along(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(201, GROUP)
    await api.groups.create(
        "Readers", avatar="book", history="from_join", join="open", client_id="mine"
    )
    assert await asked(server) == [
        (
            "POST",
            "/api/groups",
            {
                "name": "Readers",
                "members": [],
                "client_id": "mine",
                "avatar": "book",
                "history": "from_join",
                "join": "open",
            },
        )
    ]


async def test_each_call_by_its_method_and_path(server: ScriptedServer, api: ChatApi) -> None:
    for answer in (GROUP, GROUP, {"id": "r1"}, BOB, BOB, {"id": None}):
        server.answer(200, answer)
    assert await api.groups.get(ID) == Group(**GROUP)  # type: ignore[arg-type]
    assert (await api.groups.update(ID, name="Writers", join="open")).name == "Readers"
    assert await api.groups.delete(ID) == "r1"
    assert await api.groups.put(ID, "bob") == GroupMember(**BOB)
    await api.groups.put(ID, "bob", role="admin")
    assert await api.groups.remove(ID, "bob") is None
    path = f"/api/groups/{ID}"
    assert await asked(server) == [
        ("GET", path, None),
        ("PATCH", path, {"name": "Writers", "join": "open"}),
        ("DELETE", path, None),
        ("PUT", f"{path}/members/bob", None),
        ("PUT", f"{path}/members/bob", {"role": "admin"}),
        ("DELETE", f"{path}/members/bob", None),
    ]


async def test_pages_go_on_where_the_last_ended(server: ScriptedServer, api: ChatApi) -> None:
    server.answer(200, {"groups": [GROUP], "after": ID})
    server.answer(200, {"groups": [], "after": None})
    server.answer(200, {"members": [BOB], "after": "019aa5b1c2d30000.bob"})
    server.answer(200, {"members": []})
    first = await api.groups.page(limit=1)
    assert first == GroupPage([Group(**GROUP)], ID)  # type: ignore[arg-type]
    assert await api.groups.page(after=first.after) == GroupPage([], None)
    members = await api.groups.members(ID, limit=1)
    assert members == MemberPage([GroupMember(**BOB)], "019aa5b1c2d30000.bob")
    assert await api.groups.members(ID, after=members.after) == MemberPage([], None)
    assert [dict(one.query) for one in server.requests] == [
        {"limit": "1"},
        {"limit": "100", "after": ID},
        {"limit": "1"},
        {"limit": "100", "after": "019aa5b1c2d30000.bob"},
    ]


@pytest.mark.parametrize(
    ("user", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("ä b", "%C3%A4%20b"),
        ("%2F?#", "%252F%3F%23"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a.b", "a.b"),
    ],
)
async def test_a_user_id_is_one_segment_of_the_path(
    server: ScriptedServer, api: ChatApi, user: str, segment: str
) -> None:
    server.answer(200, {"id": None})
    await api.groups.remove(ID, user)
    assert [path for _, path, _ in await asked(server)] == [f"/api/groups/{ID}/members/{segment}"]


async def test_what_a_newer_server_says_is_read_as_far_as_it_is_known(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(200, {"id": ID, "channel": f",g:{ID}", "name": 5, "role": "owner", "more": 1})
    assert await api.groups.get(ID) == Group(id=ID, channel=f",g:{ID}", role="owner")
    server.answer(200, {"groups": [{"of": "another form"}, GROUP, 7], "after": 5})
    page = await api.groups.page()
    assert [one.name for one in page.groups] == ["Readers"]
    assert page.after is None
    server.answer(200, {"members": [BOB | {"role": None}, {}]})
    assert (await api.groups.members(ID)).members == [
        GroupMember(user="bob", joined="019aa5b1c2d30000")
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.groups.create("x"),
        lambda api: api.groups.page(),
        lambda api: api.groups.members(ID),
        lambda api: api.groups.remove(ID, "bob"),
    ],
    ids=["create", "page", "members", "remove"],
)
async def test_an_answer_of_another_form_is_an_error(
    server: ScriptedServer, api: ChatApi, call: Callable[[ChatApi], Awaitable[Any]]
) -> None:
    server.answer(200, [])
    with pytest.raises(ApiError) as caught:
        await call(api)
    assert caught.value.code == "unreadable_answer"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda api: api.groups.create(None), TypeError),
        (lambda api: api.groups.create("x", avatar=5), TypeError),
        (lambda api: api.groups.create("x", "bob"), TypeError),
        (lambda api: api.groups.create("x", [5]), TypeError),
        (lambda api: api.groups.create("x", client_id=""), ValueError),
        (lambda api: api.groups.create("\ud83d"), ValueError),
        (lambda api: api.groups.put(ID, "\ud83d"), ValueError),
    ],
    ids=["name", "avatar", "members", "member", "client_id", "unicode", "user"],
)
async def test_what_cannot_be_meant_is_not_sent(
    server: ScriptedServer,
    api: ChatApi,
    call: Callable[[ChatApi], Awaitable[Any]],
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        await call(api)
    assert server.requests == []


async def test_a_refusal_is_final_and_a_lost_answer_is_tried_again(
    server: ScriptedServer, api: ChatApi
) -> None:
    server.answer(403, {"code": "not_a_member", "detail": "d"})
    with pytest.raises(ApiError) as caught:
        await api.groups.get(ID)
    assert (caught.value.code, caught.value.final) == ("not_a_member", True)
    assert len(server.requests) == 1
    for _ in range(3):
        server.hang_up()
    with pytest.raises(Unreachable):
        await api.groups.put(ID, "bob")
    assert len(server.requests) == 4


async def test_a_client_leaves_as_the_user_that_the_server_greeted(
    server: ScriptedServer, connect: Connect
) -> None:
    client = await connect()
    server.answer(200, {"id": "r1"})
    server.answer(200, {"id": "r1"})
    peer = await server.greet(user="alice b")
    assert await client.groups.leave(ID) == "r1"
    peer.drop()
    assert await client.groups.leave(ID) == "r1", "known from the connection before"
    assert [(method, path) for method, path, _ in await asked(server)] == [
        ("DELETE", f"/api/groups/{ID}/members/alice%20b")
    ] * 2
